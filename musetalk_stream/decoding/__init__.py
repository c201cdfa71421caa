"""Sound files are decoded in processes of their own, which can die alone: one for each file.

the server      Decoders: threads that wait (`Workers`), and processes that decode
`python -m`     a fork server: has loaded what decoding takes, and forks a process when asked
a process       waits for a file, may open nothing, gets bytes, gives sound, and ends
"""

from .decoders import Decoders
from .file import FileDecoding
from .processes import DecodeProcesses

__all__ = ["DecodeProcesses", "Decoders", "FileDecoding"]

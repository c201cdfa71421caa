"""From the configuration to the renderer that it names."""

from ..config import Config
from ..errors import SetupError
from ..weights import missing, require
from . import Renderer
from .builtin import BuiltinRenderer


def make_renderer(config: Config, *, random_weights: bool = False) -> Renderer:
    """Look at everything that can be missing, and load nothing yet.

    random_weights: MuseTalk takes weights by chance where there are none, for measuring

    Raises SetupError (torch, or the device, is not there) and WeightsMissing.
    """
    if config.engine.renderer == "builtin":
        return BuiltinRenderer()
    settings = config.musetalk
    by_chance = random_weights and missing(settings.models_dir, settings.musetalk_version)
    files = None if by_chance else require(settings.models_dir, settings.musetalk_version)
    try:
        from .musetalk.networks import choose_dtype, find_device
        from .musetalk.renderer import MuseTalkRenderer
    except (ImportError, OSError) as exc:  # OSError: one of torch's own libraries is not there
        raise SetupError(
            f"the MuseTalk renderer can't be loaded ({exc}): pip install -e '.[musetalk]' "
            "(scripts/serve --renderer musetalk does it)"
        ) from exc
    device = find_device(settings.device)
    return MuseTalkRenderer(
        files,
        version=settings.musetalk_version,
        device=device,
        dtype=choose_dtype(settings.precision, device),
        max_batch=config.engine.max_batch,
    )

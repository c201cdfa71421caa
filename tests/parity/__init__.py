"""Our code against what the official code computed: vectors in, the largest error per array out."""

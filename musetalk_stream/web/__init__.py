"""HTTP: routes, pages, problem documents. A handler is a few lines; the work is below."""

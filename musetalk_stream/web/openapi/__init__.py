"""The contract, as an OpenAPI document and as a page."""

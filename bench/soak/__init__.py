"""Parts of the soak test: backends and an identity provider that fail on a schedule, clients, and the proxy between them."""

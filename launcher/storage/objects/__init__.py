"""What `storage.object_store` is made of: addresses, single requests, retries, trouble, copies on this node."""

"""The guide's scenarios with an identity provider, stores and targets that others wrote; see run.py."""

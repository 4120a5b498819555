//! Scripted backends, raw clients, certificates and spawned binaries for the tests.

//! Behaviour of the binary through real sockets: faults, leaks and races between clients, proxy and backends.
//!
//! Each test starts a proxy of its own with scripted backends around it and states three views of an event: what the
//! client got, what the backend saw, what the metrics and the access log say. The binary is the one of this package, or
//! `VMAUTH_BIN`. One file a kind of behaviour; how to write and run them is in `docs/testing.md`.

#[path = "behaviour/access_log.rs"]
mod access_log;
#[path = "behaviour/access_log_notes.rs"]
mod access_log_notes;
#[path = "behaviour/api_errors.rs"]
mod api_errors;
#[path = "behaviour/backend_faults.rs"]
mod backend_faults;
#[path = "behaviour/backend_replies.rs"]
mod backend_replies;
#[path = "behaviour/backend_replies_counted.rs"]
mod backend_replies_counted;
#[path = "behaviour/balancing.rs"]
mod balancing;
#[path = "behaviour/bypasses.rs"]
mod bypasses;
#[path = "behaviour/cause_page.rs"]
mod cause_page;
#[path = "behaviour/causes.rs"]
mod causes;
#[path = "behaviour/certificate_files.rs"]
mod certificate_files;
#[path = "behaviour/client_addresses.rs"]
mod client_addresses;
#[path = "behaviour/client_leaves.rs"]
mod client_leaves;
#[path = "behaviour/connections.rs"]
mod connections;
#[path = "behaviour/costly_patterns.rs"]
mod costly_patterns;
#[path = "behaviour/denied_paths.rs"]
mod denied_paths;
#[path = "behaviour/descriptors.rs"]
mod descriptors;
#[path = "behaviour/discovery.rs"]
mod discovery;
#[path = "behaviour/ejection.rs"]
mod ejection;
#[path = "behaviour/expect_continue.rs"]
mod expect_continue;
#[path = "behaviour/failed_logins.rs"]
mod failed_logins;
#[path = "behaviour/forms.rs"]
mod forms;
#[path = "behaviour/frames.rs"]
mod frames;
#[path = "behaviour/framing.rs"]
mod framing;
#[path = "behaviour/hashed_passwords.rs"]
mod hashed_passwords;
#[path = "behaviour/health_checks.rs"]
mod health_checks;
#[path = "behaviour/http1_required.rs"]
mod http1_required;
#[path = "behaviour/http2.rs"]
mod http2;
#[path = "behaviour/http2_backend_abuse.rs"]
mod http2_backend_abuse;
#[path = "behaviour/http2_backend_replies.rs"]
mod http2_backend_replies;
#[path = "behaviour/http2_backends.rs"]
mod http2_backends;
#[path = "behaviour/http2_client.rs"]
mod http2_client;
#[path = "behaviour/http2_identities.rs"]
mod http2_identities;
#[path = "behaviour/http2_limits.rs"]
mod http2_limits;
#[path = "behaviour/identity_provider.rs"]
mod identity_provider;
#[path = "behaviour/limits.rs"]
mod limits;
#[path = "behaviour/many_files.rs"]
mod many_files;
#[path = "behaviour/messages.rs"]
mod messages;
#[path = "behaviour/minted.rs"]
mod minted;
#[path = "behaviour/once_only.rs"]
mod once_only;
#[path = "behaviour/pipelining.rs"]
mod pipelining;
#[path = "behaviour/profiles.rs"]
mod profiles;
#[path = "behaviour/reload.rs"]
mod reload;
#[path = "behaviour/retry_budget.rs"]
mod retry_budget;
#[path = "behaviour/secret_files.rs"]
mod secret_files;
#[path = "behaviour/several_credentials.rs"]
mod several_credentials;
#[path = "behaviour/shown_secrets.rs"]
mod shown_secrets;
#[path = "behaviour/shutdown.rs"]
mod shutdown;
#[path = "behaviour/status.rs"]
mod status;
#[path = "behaviour/timeouts.rs"]
mod timeouts;
#[path = "behaviour/unix_sockets.rs"]
mod unix_sockets;
#[path = "behaviour/upgrade.rs"]
mod upgrade;
#[path = "behaviour/vmauth.rs"]
mod vmauth;
#[path = "behaviour/websocket_backends.rs"]
mod websocket_backends;

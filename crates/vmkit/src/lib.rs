//! What every VictoriaMetrics-style process needs, and nothing that knows what the process is for.
//!
//! Arrows inside the crate: `percent`, `redact`, `secret`, `go_text`, `units` → `flags` → `logger` → `metrics` → `net` →
//! `tls` → `http_client`; `go_regex` stands alone, `yaml` needs `go_text`; `acme` needs `http_client`; `exchange` and
//! `http_server` stand on `net`, `tls` and `metrics`; `service` on all of them. Nothing points back.

pub mod acme;
pub mod blocking;
pub mod config_files;
pub mod config_source;
pub mod cpu_profile;
pub mod env_template;
pub mod exchange;
pub mod flags;
pub mod go_regex;
pub mod go_text;
pub mod gzip;
pub mod heap_profile;
pub mod http_client;
pub mod http_server;
pub mod logger;
pub mod metrics;
pub mod net;
pub mod oauth2;
pub mod path_pattern;
pub mod percent;
pub mod process;
pub mod proxy;
pub mod redact;
pub mod secret;
pub mod service;
pub mod tls;
pub mod units;
pub mod yaml;

//! The kinds of discovery that exist here, by their keys in a scrape config.

use std::fmt;

/// The kinds of discovery that exist here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `static_configs`.
    Static,
    /// `file_sd_configs`.
    File,
    /// `http_sd_configs`.
    Http,
    /// `dns_sd_configs`.
    Dns,
    /// `kubernetes_sd_configs`.
    Kubernetes,
}

impl Kind {
    /// All of them, in the order in which a job is read.
    pub const ALL: [Self; 5] = [Self::Static, Self::File, Self::Http, Self::Dns, Self::Kubernetes];

    /// The key in a scrape config, which is the value of the label `type` of the metrics, too.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Static => "static_configs",
            Self::File => "file_sd_configs",
            Self::Http => "http_sd_configs",
            Self::Dns => "dns_sd_configs",
            Self::Kubernetes => "kubernetes_sd_configs",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

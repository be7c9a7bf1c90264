//! Who may see the pages, and how they travel: plain data of a web configuration file.

use std::collections::BTreeMap;

use super::plan::Secret;

/// What guards the pages; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebPlan {
    /// `None`: plain HTTP.
    pub tls: Option<TlsPlan>,
    /// The bcrypt hash of each user's password; without users everybody is let in.
    pub users: BTreeMap<String, Secret>,
    /// Headers of every answer that does not bring its own.
    pub headers: Vec<(String, String)>,
    /// Paths that need no user.
    pub open_paths: Vec<String>,
}

/// The server's side of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPlan {
    /// The server's certificate first, PEM.
    pub certificates: String,
    /// PEM.
    pub key: Secret,
    pub clients: ClientCertificates,
    pub least: TlsVersion,
    pub most: TlsVersion,
}

/// What is asked of those who connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    Unasked,
    /// Whoever shows one must show one of these authorities (PEM).
    Checked {
        authorities: String,
    },
    /// Nobody connects without one of these authorities (PEM).
    Required {
        authorities: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

//! Addresses to listen on, as they are typed.

use std::fmt;
use std::str::FromStr;

/// A host and a port to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// Without brackets; `None` for every interface.
    host: Option<String>,
    port: u16,
}

impl ListenAddress {
    /// What to bind, the first that can be: every interface is that of IPv6, which takes
    /// IPv4 too, unless the system has no IPv6.
    pub fn candidates(&self) -> Vec<(&str, u16)> {
        match &self.host {
            Some(host) => vec![(host, self.port)],
            None => vec![("::", self.port), ("0.0.0.0", self.port)],
        }
    }
}

/// Why a text is no address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be host:port, [ipv6]:port or :port")]
pub struct NoListenAddress;

impl FromStr for ListenAddress {
    type Err = NoListenAddress;

    fn from_str(text: &str) -> Result<Self, NoListenAddress> {
        let (host, port) = text.rsplit_once(':').ok_or(NoListenAddress)?;
        let port = port.parse().map_err(|_| NoListenAddress)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(ipv6) => ipv6.parse::<std::net::Ipv6Addr>().map(|_| ipv6).map_err(|_| NoListenAddress)?,
            // A colon left in the host is an IPv6 address whose last group was taken for the port.
            None if host.contains([':', '/', ' ', '[', ']']) => return Err(NoListenAddress),
            None => host,
        };
        Ok(Self { host: (!host.is_empty()).then(|| host.to_owned()), port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
            None => write!(f, ":{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ListenAddress {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn addresses_have_a_port() {
        assert_eq!(address(":80").candidates(), [("::", 80), ("0.0.0.0", 80)]);
        assert_eq!(address("[::1]:80").candidates(), [("::1", 80)]);
        assert_eq!(address("localhost:0").candidates(), [("localhost", 0)]);
        for text in ["", "80", "h", "h:", "h:65536", "::1", "[]:80", "[h]:80", "http://h:80", "a:b:80"] {
            assert_eq!(text.parse::<ListenAddress>(), Err(NoListenAddress), "{text}");
        }
        for text in [":80", "[::1]:80", "h:80"] {
            assert_eq!(address(text).to_string(), text);
        }
    }
}

//! The server's side of TLS, from certificates to what a handshake needs.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::domain::web::{ClientCertificates, TlsPlan, TlsVersion};

/// Why there can be no TLS as planned.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("tls_server_config: {0}")]
    Pem(#[from] pem::Error),
    #[error("tls_server_config: certificate and key do not fit: {0}\n  hint: the server's own certificate comes first")]
    Tls(#[from] rustls::Error),
    #[error("tls_server_config.client_ca_file: {0}")]
    Authorities(#[from] VerifierBuilderError),
}

pub(super) fn server(plan: &TlsPlan) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let versions = [(TlsVersion::Tls12, &TLS12), (TlsVersion::Tls13, &TLS13)].into_iter();
    let versions: Vec<&SupportedProtocolVersion> =
        versions.filter(|(version, _)| (plan.least..=plan.most).contains(version)).map(|(_, known)| known).collect();
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions)?;
    let builder = match verifier(&plan.clients)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let certificates = chain(&plan.certificates)?;
    let key = PrivateKeyDer::from_pem_slice(plan.key.reveal().as_bytes())?;
    let mut config = builder.with_single_cert(certificates, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect()
}

fn verifier(clients: &ClientCertificates) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let authorities = match clients {
        ClientCertificates::Unasked => return Ok(None),
        ClientCertificates::Checked { authorities } | ClientCertificates::Required { authorities } => authorities,
    };
    let mut roots = RootCertStore::empty();
    for authority in chain(authorities)? {
        roots.add(authority)?;
    }
    let provider = Arc::new(ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let is_required = matches!(clients, ClientCertificates::Required { .. });
    let builder = if is_required { builder } else { builder.allow_unauthenticated() };
    Ok(Some(builder.build()?))
}

//! Whatever a web configuration file holds: what guards the pages, or what is wrong, in words.

use llmsoak::config;
use llmsoak::web::Security;

use super::files;

pub(crate) fn hold(data: &[u8]) {
    let Some(plan) = files::read(data, config::web_from_file) else { return };
    // Certificates that are sound as text may still be no certificates.
    if let Err(words) = Security::by(move || Ok(plan.clone())) {
        assert!(!words.trim().is_empty(), "refused without a word");
    }
}

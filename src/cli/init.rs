//! `llmsoak init`: asks a server what it is and writes a configuration that fits it.
//!
//! What is written was read by the configuration's own reader before: `check` accepts it.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use super::args::InitArgs;
use super::found::{Found, listed};
use super::hints::{hint, wants_key};
use super::session::service_runtime;
use super::{print, say};
use crate::client::{Client, Offer, choose};
use crate::config::{self, Draft, Problems};
use crate::domain::plan::{Connection, TargetPlan};
use crate::domain::{FailureKind, RequestFailure, ServerIdentity};

/// In the place of a file: standard output.
const STDOUT: &str = "-";
/// Ends of addresses that belong to an API, longest first: people paste what their client takes.
const API_PATHS: [&str; 8] =
    ["/v1/chat/completions", "/v1/completions", "/v1/models", "/v1", "/api/generate", "/api/chat", "/api/tags", "/api"];

pub(super) fn run(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let file = (args.file != Path::new(STDOUT)).then_some(args.file.as_path());
    if let Some(file) = file.filter(|file| !args.force && file.exists()) {
        bail!(is_there(file));
    }
    let server = service_runtime()?.block_on(find(args, file))?;
    let draft = server.draft();
    // A draft that the reader refuses would be a fault of this program.
    config::drafted(&draft)?;
    let yaml = config::draft_yaml(&draft);
    say(server.summary(&draft));
    match file {
        None => print(yaml),
        Some(file) => {
            write(file, &yaml, args.force)?;
            say(next_steps(file));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn is_there(file: &Path) -> String {
    format!("{} is there already\n  hint: --force overwrites it, --config.file=FILE names another", file.display())
}

fn write(file: &Path, yaml: &str, force: bool) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true);
    // A file that came to be since the first look stays as it is.
    let options = if force { options.create(true).truncate(true) } else { options.create_new(true) };
    let written = options.open(file).and_then(|mut open| open.write_all(yaml.as_bytes()));
    match written {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!(is_there(file)),
        written => written.with_context(|| format!("cannot write {}", file.display())),
    }
}

fn next_steps(file: &Path) -> String {
    let flag =
        if file == Path::new("llmsoak.yml") { String::new() } else { format!(" --config.file={}", file.display()) };
    format!("wrote {}; next:\n  llmsoak check{flag} --probe\n  llmsoak run{flag}", file.display())
}

/// Why there is no server to be found at an address.
enum Missing {
    /// Something answers, but no model server: another path may lead to one.
    Here(anyhow::Error),
    Anywhere(anyhow::Error),
}

/// Asks at the typed address; before it, without the end that belongs to an API. Where none
/// lists its models, a model that the user named is believed in.
async fn find(args: &InitArgs, file: Option<&Path>) -> anyhow::Result<Found> {
    let key_file = args.api_key_file.as_deref().map(|path| path_from(file, path)).transpose()?;
    let typed = args.url.trim_end_matches('/');
    let mut tries: Vec<(&str, bool)> = candidates(typed).into_iter().map(|url| (url, false)).collect();
    tries.extend(tries.first().filter(|_| args.model.is_some()).map(|&(url, _)| (url, true)));
    let mut missing = None;
    for (url, is_believed) in tries {
        let plan = Draft { url: url.to_owned(), api_key_file: key_file.clone(), ..Draft::default() };
        let mut config = config::drafted(&plan).map_err(as_typed)?;
        let TargetPlan { connection, lane, .. } = config.targets.swap_remove(0);
        match ask(&connection, args.model.as_deref(), is_believed).await {
            Ok((identity, offers)) => {
                let dropped_path = typed.strip_prefix(url).filter(|path| !path.is_empty()).map(str::to_owned);
                // A lane that is left out is the host.
                return Ok(Found { url: connection.url, host: lane, key_file, identity, offers, dropped_path });
            }
            Err(Missing::Anywhere(error)) => return Err(error),
            Err(Missing::Here(error)) => missing = Some(error),
        }
    }
    Err(missing.unwrap_or_else(|| anyhow::anyhow!("no address to ask")))
}

/// The address without the end that belongs to an API, and the address itself.
fn candidates(url: &str) -> Vec<&str> {
    let begin = url.find("://").map_or(0, |scheme| scheme + 3);
    let without = API_PATHS.iter().find_map(|path| url.get(begin..)?.strip_suffix(path));
    let without = without.filter(|host| !host.is_empty()).and_then(|host| url.get(..begin + host.len()));
    without.into_iter().chain([url]).collect()
}

/// A path as it is to be written: relative ones start beside the configuration file.
fn path_from(file: Option<&Path>, path: &Path) -> anyhow::Result<String> {
    let is_beside = file.and_then(Path::parent).is_some_and(|folder| folder == Path::new(""));
    let path = if is_beside { path.to_owned() } else { std::path::absolute(path)? };
    Ok(path.display().to_string())
}

/// The problems of what was typed, named as it was typed.
fn as_typed(Problems(mut problems): Problems) -> Problems {
    for problem in &mut problems {
        (problem.file, problem.line) = (None, None);
        problem.key = match problem.key.as_str() {
            "targets[0].url" => "URL".to_owned(),
            "targets[0].api_key_file" => "--target.api-key-file".to_owned(),
            key => key.to_owned(),
        };
    }
    Problems(problems)
}

/// Who answers with which model, and what else is offered.
async fn ask(
    connection: &Connection,
    wanted: Option<&str>,
    is_believed: bool,
) -> Result<(ServerIdentity, Vec<Offer>), Missing> {
    let client = Client::new(connection).map_err(|error| Missing::Anywhere(error.into()))?;
    let identified = client.identify(wanted.filter(|_| is_believed)).await;
    let identified = match identified {
        Ok(identified) => identified,
        Err(failure) => {
            let status = if failure.kind == FailureKind::Protocol { client.models_status().await } else { None };
            return Err(missing(connection, &failure, status));
        }
    };
    let offers = client.offers(&identified).await;
    let model = match wanted {
        Some(wanted) => named(&offers, wanted).map_err(Missing::Anywhere)?,
        None => choose(&offers).map_or(identified.identity.model, |offer| offer.name.clone()),
    };
    match client.identify(Some(&model)).await {
        Ok(identified) => Ok((identified.identity, offers)),
        Err(failure) => Err(missing(connection, &failure, None)),
    }
}

/// The model that the user named, if the server has it or does not say what it has.
fn named(offers: &[Offer], wanted: &str) -> anyhow::Result<String> {
    // Ollama's tags: a name without one means the latest.
    let latest = format!("{wanted}:latest");
    if offers.is_empty() || offers.iter().any(|offer| offer.name == wanted || offer.name == latest) {
        return Ok(wanted.to_owned());
    }
    bail!("--target.model: the server has no model {wanted}\n  hint: it has {}", listed(offers.iter()));
}

/// What is said of a failure. `status` is that of the list of models.
fn missing(connection: &Connection, failure: &RequestFailure, status: Option<u16>) -> Missing {
    let url = &connection.url;
    if wants_key(failure) {
        let words = failure.detail.split("; hint").next().unwrap_or_default();
        let what = if connection.api_key.is_some() { "refuses this API key" } else { "wants an API key" };
        return Missing::Anywhere(anyhow::anyhow!(
            "the server at {url} {what}: {words}\n  hint: put the key into a file of its own and name it: \
             --target.api-key-file FILE, or LLMSOAK_TARGET_API_KEY_FILE"
        ));
    }
    if let Some(status @ 300..=399) = status {
        return Missing::Here(anyhow::anyhow!(
            "{url} leads elsewhere: /v1/models is answered with status {status}\n  hint: type the address that it \
             leads to, perhaps https://"
        ));
    }
    let hint = hint(failure).map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
    match status {
        Some(status) => Missing::Here(anyhow::anyhow!(
            "no model server at {url}: /v1/models is answered with status {status} and no list of models{hint}"
        )),
        None if failure.kind == FailureKind::Protocol => {
            Missing::Here(anyhow::anyhow!("no model server at {url}: {}{hint}", failure.detail))
        }
        None => Missing::Anywhere(anyhow::anyhow!("no model server at {url}: {failure}{hint}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_candidates(url: &str, expected: &[&str]) {
        assert_eq!(candidates(url), expected);
    }

    #[test]
    fn the_end_of_an_api_is_tried_without_first() {
        check_candidates("http://h:1", &["http://h:1"]);
        check_candidates("http://h:1/v1", &["http://h:1", "http://h:1/v1"]);
        check_candidates("https://h/api/v1", &["https://h/api", "https://h/api/v1"]);
        check_candidates("https://h/llm/v1/chat/completions", &["https://h/llm", "https://h/llm/v1/chat/completions"]);
        check_candidates("http://h:1/api", &["http://h:1", "http://h:1/api"]);
        check_candidates("http://v1", &["http://v1"]);
        check_candidates("http:///v1", &["http:///v1"]);
        check_candidates("/v1", &["/v1"]);
        check_candidates("", &[""]);
    }

    #[test]
    fn a_path_leads_from_the_configuration_to_the_key() {
        let from = |file: Option<&str>, path: &str| path_from(file.map(Path::new), Path::new(path)).expect("a path");
        assert_eq!(from(Some("llmsoak.yml"), "keys/k"), "keys/k");
        assert_eq!(from(Some("llmsoak.yml"), "/k"), "/k");
        for file in [Some("conf/llmsoak.yml"), None] {
            assert_eq!(Path::new(&from(file, "k")), std::path::absolute("k").expect("a path"));
        }
    }
}

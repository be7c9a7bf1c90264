//! `llmsoak init`: from an address to a configuration that `check` accepts.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};

use llmsoak::config::{Config, from_file};

use crate::support::{Process, Stage, free_address, simulator};

/// Asks the server at an address for a configuration in that folder.
fn init(stage: &Stage, url: &str, flags: &[&str]) -> (Process, String) {
    let file = stage.path().join("new.yml").display().to_string();
    let process = Process::start(&[&["init", url, "--config.file", &file], flags].concat());
    (process, file)
}

/// What is written for an address, after what is said.
fn written(url: &str, flags: &[&str], said: &[&str]) -> (Config, String) {
    let stage = Stage::new();
    let (mut process, file) = init(&stage, url, flags);
    assert_eq!(process.code(), Some(0), "{}", process.stderr());
    assert_eq!(process.stdout(), "");
    for words in said.iter().chain([&format!("llmsoak check --config.file={file} --probe").as_str()]) {
        assert!(process.stderr().contains(words), "{words} is not in:\n{}", process.stderr());
    }
    let config = from_file(file.as_ref()).unwrap_or_else(|problems| panic!("{problems}"));
    (config, std::fs::read_to_string(file).expect("a file"))
}

/// A start that fails with those words and writes nothing.
fn check_refused(url: &str, flags: &[&str], said: &[&str]) {
    let stage = Stage::new();
    let (mut process, file) = init(&stage, url, flags);
    assert_eq!(process.code(), Some(1), "{url}: {}", process.stderr());
    for words in said {
        assert!(process.stderr().contains(words), "{words} is not in:\n{}", process.stderr());
    }
    assert_eq!(process.stdout(), "");
    assert!(!std::path::Path::new(&file).exists(), "{url}");
}

/// A server of canned answers: gets the path and the head of each request, gives a status
/// and a body. It ends with the test's process.
fn canned(answer: impl Fn(&str, &str) -> (u16, &'static str) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
                head.extend(byte);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let (status, body) = answer(head.split(' ').nth(1).unwrap_or_default(), &head);
            let length = body.len();
            // Whoever asked may be gone.
            let _ =
                write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        }
    });
    address
}

#[test]
fn each_kind_of_server_gets_a_configuration_that_fits() {
    for (api, kind, slots, length_varies) in [
        ("llama.cpp", "llama.cpp 1.0.0 at ", "slots  3, a context of 2048 tokens", false),
        ("ollama", "ollama 1.0.0 at ", "slots  not told; 4 assumed", true),
        ("vllm", "vllm 1.0.0 at ", "slots  not told; 4 assumed, a context of 2048 tokens", false),
        ("openai", "openai-compatible at ", "slots  not told; 4 assumed", false),
    ] {
        let (_sim, sim) = simulator(&["--api", api, "--slots", "3"]);
        let (config, text) = written(&format!("http://{sim}"), &[], &[kind, slots, "model  tiny:1m"]);
        let [target] = config.targets.as_slice() else { panic!("{text}") };
        assert_eq!((target.name.as_str(), target.model.as_deref()), ("tiny-1m", Some("tiny:1m")), "{api}");
        assert_eq!(target.connection.url, format!("http://{sim}"), "{api}");
        let lists = if api == "llama.cpp" { "workers: [1, 2, 4] " } else { "workers: [1, 2, 4, 8] " };
        assert!(text.contains(lists), "{api}: {text}");
        assert_eq!(text.contains("cannot be held to a length"), length_varies, "{api}: {text}");
    }
}

#[test]
fn what_clients_append_to_an_address_is_dropped() {
    for (api, path) in [("llama.cpp", "/v1"), ("vllm", "/v1/chat/completions/"), ("ollama", "/api")] {
        let (_sim, sim) = simulator(&["--api", api]);
        let (config, _) =
            written(&format!("http://{sim}{path}"), &[], &[&format!("without {}", path.trim_end_matches('/'))]);
        assert_eq!(config.targets[0].connection.url, format!("http://{sim}"), "{api}");
    }
}

#[test]
fn a_path_that_belongs_to_the_server_stays() {
    let models = r#"{"data": [{"id": "large"}]}"#;
    let server = canned(move |path, _| if path == "/llm/api/v1/models" { (200, models) } else { (404, "{}") });
    let (config, _) = written(&format!("http://{server}/llm/api"), &[], &["model  large"]);
    assert_eq!(config.targets[0].connection.url, format!("http://{server}/llm/api"));
}

#[test]
fn standard_output_gets_the_configuration_and_nothing_else() {
    let (_sim, sim) = simulator(&[]);
    let mut process = Process::start(&["init", &format!("http://{sim}"), "--config.file=-"]);
    assert_eq!(process.code(), Some(0), "{}", process.stderr());
    let stage = Stage::new();
    let file = stage.write("piped.yml", &process.stdout());
    assert_eq!(from_file(file.as_ref()).unwrap_or_else(|problems| panic!("{problems}")).targets.len(), 1);
}

#[test]
fn a_file_is_overwritten_only_by_force() {
    let (_sim, sim) = simulator(&[]);
    let stage = Stage::new();
    let file = stage.write("new.yml", "mine");
    let url = format!("http://{sim}");
    let (mut process, _) = init(&stage, &url, &[]);
    assert_eq!(process.code(), Some(1));
    assert!(process.stderr().contains("is there already\n  hint: --force"), "{}", process.stderr());
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), "mine");
    let (mut process, _) = init(&stage, &url, &["--force"]);
    assert_eq!(process.code(), Some(0), "{}", process.stderr());
    assert_eq!(from_file(file.as_ref()).unwrap_or_else(|problems| panic!("{problems}")).targets.len(), 1);
}

#[test]
fn a_model_is_chosen_from_those_that_are_offered() {
    let models = r#"{"data": [{"id": "text-embedding-3"}, {"id": "gpt: #1"}, {"id": "other"}]}"#;
    let server = canned(move |path, _| if path == "/v1/models" { (200, models) } else { (404, "{}") });
    let url = format!("http://{server}");
    let (config, text) = written(&url, &[], &["model  gpt: #1; 2 more"]);
    assert_eq!(config.targets[0].model.as_deref(), Some("gpt: #1"));
    assert!(text.contains("# Also offered: text-embedding-3, other."), "{text}");
    let (config, _) = written(&url, &["--target.model=other"], &["model  other"]);
    assert_eq!(config.targets[0].model.as_deref(), Some("other"));
    check_refused(&url, &["--target.model=else"], &["no model else", "hint: it has text-embedding-3, gpt: #1, other"]);
    let (_sim, sim) = simulator(&["--api", "ollama"]);
    check_refused(&format!("http://{sim}"), &["--target.model=else"], &["no model else", "hint: it has tiny:1m"]);
}

#[test]
fn a_server_that_lists_no_models_is_taken_at_the_users_word() {
    let server = canned(|_, _| (404, "{}"));
    let (config, _) = written(&format!("http://{server}/v1"), &["--target.model=m"], &["lists no models"]);
    let target = &config.targets[0];
    let expected = format!("http://{server}");
    assert_eq!((target.model.as_deref(), &target.connection.url), (Some("m"), &expected));
}

#[test]
fn a_key_is_asked_for_and_then_stands_in_the_file() {
    let models = r#"{"data": [{"id": "m"}]}"#;
    let server = canned(move |path, head| {
        if !head.to_lowercase().contains("authorization: bearer sk-1\r\n") {
            return (401, r#"{"error": {"message": "no key"}}"#);
        }
        if path == "/v1/models" { (200, models) } else { (404, "{}") }
    });
    let url = format!("http://{server}");
    check_refused(
        &url,
        &[],
        &["wants an API key: 401: no key", "--target.api-key-file", "LLMSOAK_TARGET_API_KEY_FILE"],
    );
    let stage = Stage::new();
    let wrong = stage.write("wrong", "sk-2");
    check_refused(&url, &["--target.api-key-file", &wrong], &["refuses this API key"]);
    check_refused(&url, &["--target.api-key-file=/no/key"], &["--target.api-key-file: cannot be read: /no/key"]);
    let key = stage.write("key", "sk-1\n");
    let (config, text) = written(&url, &["--target.api-key-file", &key], &["model  m"]);
    assert!(config.targets[0].connection.api_key.is_some());
    assert!(text.contains(&format!("\n    api_key_file: {key} ")), "{text}");
    assert!(!text.contains("sk-1"), "{text}");
}

#[test]
fn what_is_no_model_server_is_told_with_the_mend() {
    let nobody = free_address();
    check_refused(&format!("http://{nobody}"), &[], &["no model server at", "connect", "is the server started"]);
    check_refused("http://no-such-host.invalid", &[], &["dns: ", "spelt right"]);
    let page = canned(|_, _| (404, "<html>nothing here</html>"));
    check_refused(&format!("http://{page}/v1"), &[], &["status 404", "hint: is it a model server?"]);
    let moved = canned(|_, _| (301, ""));
    check_refused(&format!("http://{moved}"), &[], &["leads elsewhere", "perhaps https://"]);
    let loading = canned(|_, _| (503, r#"{"error": {"message": "Loading model"}}"#));
    check_refused(&format!("http://{loading}"), &[], &["Loading model", "hint: the server is not ready"]);
    let (_sim, sim) = simulator(&[]);
    check_refused(&format!("https://{sim}"), &[], &["tls: ", "reached by http://"]);
    check_refused(&format!("{sim}"), &[], &["URL: must start with http:// or https://", "hint: such as"]);
    check_refused(&format!("http://me:pw@{sim}"), &[], &["URL: must not hold credentials"]);
}

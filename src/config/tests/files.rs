//! The files and variables that a configuration refers to.

use super::*;

/// Reads `f.yml` with these keys of a target from a folder that holds `files`.
fn read_beside(files: &[(&str, &[u8])], keys: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).expect("a file can be written");
    }
    let path = folder.path().join("f.yml");
    std::fs::write(&path, target(keys)).expect("a file can be written");
    let place = format!("{}/", folder.path().display());
    from_file(&path).map_err(|problems| problems.to_string().replace(&place, ""))
}

#[test]
fn prompts_are_lines() {
    let config = read_beside(&[("p.txt", b"one\r\n\n  \ntwo\n")], "    request: {prompts_file: p.txt}");
    let prompts = config.expect("is sound").targets[0].request.prompts.clone();
    let Prompts::Lines { lines, digest } = prompts else { panic!("{prompts:?}") };
    assert_eq!(lines, ["one", "two"]);
    assert_eq!(digest.len(), 16);
}

#[test]
fn a_key_is_trimmed_and_its_file_remembered() {
    let config = read_beside(&[("key", b"sk-1\n")], "    api_key_file: key").expect("is sound");
    let connection = &config.targets[0].connection;
    assert_eq!(connection.api_key.as_ref().map(Secret::reveal), Some("sk-1"));
    let file = connection.api_key_file.as_ref().expect("has a file");
    assert!(file.is_absolute() && file.ends_with("key"), "{}", file.display());
    let config = read(&target("    api_key_env: KEY")).expect("is sound");
    assert_eq!(config.targets[0].connection.api_key_file, None);
}

#[test]
fn a_key_is_read_again() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("key");
    let check = |content: &[u8], expected: Result<&str, &str>| {
        std::fs::write(&file, content).expect("a file can be written");
        let key = read_key_file(&file);
        let seen = key.as_ref().map(Secret::reveal).map_err(ToString::to_string);
        assert_eq!(seen, expected.map_err(|said| said.replace("FILE", &file.display().to_string())));
    };
    check(b"sk-1", Ok("sk-1"));
    check(b" sk-2\r\n", Ok("sk-2"));
    check(b"", Err("must lead to a key: one word of visible ASCII characters"));
    check(b"sk-3 sk-4", Err("must lead to a key: one word of visible ASCII characters"));
    check(&vec![b'k'; (16 << 10) + 1], Err("cannot be read: FILE: it is larger than 16 KiB"));
    std::fs::remove_file(&file).expect("a file can be removed");
    let said = read_key_file(&file).expect_err("is gone").to_string();
    assert_eq!(said, format!("cannot be read: {}: No such file or directory (os error 2)", file.display()));
}

#[test]
fn a_missing_file_is_named() {
    let keys = "    api_key_file: key\n    tls: {ca_file: ca.pem}\n    request: {prompts_file: p.txt}\n";
    let problems = read_beside(&[], keys).expect_err("is unsound");
    assert_eq!(
        problems.lines().collect::<Vec<_>>(),
        [
            "f.yml:4: targets[0].api_key_file: cannot be read: key: No such file or directory (os error 2); \
             hint: relative paths start beside the configuration file",
            "f.yml:5: targets[0].tls.ca_file: cannot be read: ca.pem: No such file or directory (os error 2); \
             hint: relative paths start beside the configuration file",
            "f.yml:6: targets[0].request.prompts_file: cannot be read: p.txt: No such file or directory (os error \
             2); hint: relative paths start beside the configuration file",
        ],
    );
}

#[test]
fn a_file_holds_what_it_is_for() {
    let check = |content: &[u8], keys: &str, expected: &str| {
        assert_eq!(read_beside(&[("x", content)], keys).expect_err("is unsound"), expected);
    };
    check(
        b"two words",
        "    api_key_file: x",
        "f.yml:4: targets[0].api_key_file: must lead to a key: one word of visible ASCII characters",
    );
    check(b"\xff", "    api_key_file: x", "f.yml:4: targets[0].api_key_file: cannot be read: x: it is not UTF-8 text");
    check(
        b"\n \n",
        "    request: {prompts_file: x}",
        "f.yml:4: targets[0].request.prompts_file: names a file without prompts; hint: write one prompt a line",
    );
    check(
        &vec![b'x'; (16 << 20) + 1],
        "    request: {prompts_file: x}",
        "f.yml:4: targets[0].request.prompts_file: cannot be read: x: it is larger than 16384 KiB",
    );
}

#[test]
fn a_file_excludes_what_it_stands_for() {
    let check = |keys: &str, expected: &str| {
        assert_eq!(read_beside(&[("x", b"k")], keys).expect_err("is unsound"), expected);
    };
    check(
        "    request: {prompt_tokens: 8, prompts_file: x}",
        "f.yml:4: targets[0].request.prompts_file: excludes `prompt_tokens`; hint: keep one of them",
    );
    // Cargo sets the variable for every test that it runs.
    check(
        "    api_key_file: x\n    api_key_env: CARGO_PKG_NAME",
        "f.yml:5: targets[0].api_key_env: excludes `api_key_file`; hint: keep one of them",
    );
}

#[test]
fn a_missing_configuration_is_named() {
    let problems = from_file(Path::new("no/such.yml")).expect_err("is missing").to_string();
    let expected = "no/such.yml: cannot be read: No such file or directory (os error 2); \
        hint: name another file with --config.file, or do without one: --target.url=http://127.0.0.1:11434";
    assert_eq!(problems, expected);
}

#[test]
fn other_certificates_in_the_same_file_are_another_plan() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (ca, path) = (folder.path().join("ca.pem"), folder.path().join("f.yml"));
    std::fs::write(&path, target("    tls: {ca_file: ca.pem}\n")).expect("a file can be written");
    let connection = |pem: &str| {
        std::fs::write(&ca, pem).expect("a file can be written");
        from_file(&path).expect("is sound").targets.remove(0).connection
    };
    let first = connection("one");
    assert_eq!(connection("one"), first);
    assert_ne!(connection("two"), first);
}

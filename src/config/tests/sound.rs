//! What a sound file comes to.

use super::*;

#[test]
fn a_name_and_a_url_are_enough() {
    let config = read(&target("")).expect("is sound");
    let mut plain = without_file("http://host:1/", None, None).expect("is sound");
    plain.targets[0].name = "a".to_owned();
    plain.schedule.seed = config.schedule.seed;
    assert_eq!(config, plain);
    assert_eq!(config.targets[0].lane, "host");
    assert_eq!(config.targets[0].connection.url, "http://host:1");
    assert_eq!(config.targets[0].connection.connect_timeout, Duration::from_secs(5));
}

#[test]
fn the_default_configuration_is_the_default() {
    let config = read(&default_yaml()).unwrap_or_else(|problems| panic!("{problems}"));
    let mut plain = without_file("http://127.0.0.1:11434", None, None).expect("is sound");
    plain.targets[0].name = "workstation".to_owned();
    plain.schedule.seed = config.schedule.seed;
    assert_eq!(config, plain);
}

#[test]
fn keys_are_read() {
    check_plan("    model: gemma3:4b", |t| t.model = Some("gemma3:4b".to_owned()));
    check_plan("    api: ollama", |t| t.connection.api = Api::Ollama);
    check_plan("    lane: on", |t| t.lane = "on".to_owned());
    check_plan("    api_key_env: KEY", |t| t.connection.api_key = Some(Secret::new("from-env")));
    check_plan("    headers: {X-Team: red}", |t| {
        t.connection.headers = vec![("X-Team".to_owned(), Secret::new("red"))];
    });
    check_plan("    tls: {insecure_skip_verify: true}", |t| t.connection.tls_insecure_skip_verify = true);
    check_plan("    request: {connect_timeout: 1s}", |t| t.connection.connect_timeout = Duration::from_secs(1));
    check_plan("    request: {timeout: 1h30m}", |t| t.request.timeout = Duration::from_secs(5400));
    check_plan("    request: {temperature: 1}", |t| t.request.temperature = 1.0);
    check_plan("    request: {prompt_tokens: 8}", |t| t.request.prompts = Prompts::BuiltIn { tokens: 8 });
    check_plan("    request: {prefix_cache: allow}", |t| t.request.avoid_prefix_cache = false);
}

#[test]
fn environments_are_read() {
    check_plan("    environment: {gpu: off}", |t| t.environment.reads_gpu = false);
    check_plan("    environment: {labels: {rack: r12}}", |t| {
        t.environment.labels = Facts::from([("rack".to_owned(), "r12".to_owned())]);
    });
    let command = |key: &str, program: &str, arguments: &[&str]| {
        let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
        (key.to_owned(), CommandLine { program: program.to_owned(), arguments, environment: BTreeMap::new() })
    };
    // One that is named like a component is that component.
    check_plan("    environment: {commands: {driver: [ssh, gpu01, cat /sys/x], bios: [./bios]}}", |t| {
        t.environment.commands =
            [command("driver_version", "ssh", &["gpu01", "cat /sys/x"]), command("bios", "/nowhere/./bios", &[])]
                .into();
    });
    check_plan("    environment: {commands: {quantization: [q], model: [m]}}", |t| {
        t.environment.commands = [command("quantization", "q", &[]), command("model_digest", "m", &[])].into();
    });
}

#[test]
fn grids_are_read() {
    check_plan("    grid: {workers: [4, 2], batch: [1]}", |t| {
        t.grid = GridPlan::Fixed(Grid::new(&[2, 4], &[1], true).expect("is sound"));
    });
    check_plan("    grid: {preset: legacy}", |t| t.grid = GridPlan::Fixed(Grid::legacy(true)));
    check_plan("    grid: {share_equivalent_cells: false}", |t| {
        t.grid = GridPlan::Automatic { share_equivalent_cells: false };
    });
}

#[test]
fn a_key_without_a_value_has_its_default() {
    check_plan("    grid:\n    lane:\n    tls:\n      ca_file:", |_| {});
}

#[test]
fn anchors_spare_repetition() {
    let yaml = "targets:\n  - &a\n    name: a\n    url: http://h:1\n    lane: x\n  - <<: *a\n    name: b\n";
    let config = read(yaml).expect("is sound");
    let seen: Vec<_> = config.targets.iter().map(|t| (t.name.as_str(), t.lane.as_str())).collect();
    assert_eq!(seen, [("a", "x"), ("b", "x")]);
}

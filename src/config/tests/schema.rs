//! The schema knows what the reader knows, and what the generated configuration shows.

use std::collections::BTreeMap;

use jsonschema::Validator;
use serde_json::Value as Json;

use super::examples::examples;
use super::*;
use crate::config::schema::to_json;

fn validator() -> Validator {
    let schema = json_schema();
    jsonschema::draft202012::meta::validate(&schema).expect("is a schema");
    jsonschema::draft202012::new(&schema).expect("is a schema")
}

/// What a validator says of a text: the path of each fault.
fn faults(validator: &Validator, yaml: &str) -> Vec<String> {
    let document = to_json(&tree::parse(yaml).expect("is YAML"));
    validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// The keys of every section, by the section's path. One that names no keys of its own is
/// none.
type Keys = BTreeMap<String, BTreeSet<String>>;

fn keys_of_schema(schema: &Json, path: &str, keys: &mut Keys) {
    let section = schema.get("items").unwrap_or(schema);
    let Some(properties) = section.get("properties").and_then(Json::as_object) else { return };
    keys.insert(path.to_owned(), properties.keys().cloned().collect());
    for (key, schema) in properties {
        keys_of_schema(schema, &format!("{path}{key}."), keys);
    }
}

/// The reader's own list of the keys of each section: the hint about one that it does not know.
fn keys_of_reader() -> Keys {
    let strange = "zzzzzzzzzzzzzzzzzzzzzzzz: 1";
    let section = format!("{{{strange}}}");
    let yaml = format!(
        "{{{strange}, storage: {section}, schedule: {section}, estimate: {section},
         objectives: {{{strange}, slo: {section}}}, canary: {section}, report: {section}, regression: {section},
         notify: {{{strange}, webhook: {section}, grafana: {section}}},
         metrics: {{{strange}, buckets: {section}}},
         targets: [{{{strange}, tls: {section}, grid: {section},
                    slots: {{{strange}, process: {section}}}, request: {section}, budget: {section},
                    environment: {section}, validity: {section}}}]}}"
    );
    let Problems(problems) = read(&yaml).expect_err("has unknown keys");
    let known = problems.iter().filter_map(|problem| {
        let list = problem.fault.hint.as_ref()?.strip_prefix("known here: ")?;
        let section = problem.key.replace("[0]", "").replace("zzzzzzzzzzzzzzzzzzzzzzzz", "");
        Some((section, list.split(", ").map(str::to_owned).collect()))
    });
    known.collect()
}

#[test]
fn the_schema_has_the_keys_of_the_reader() {
    let mut keys = Keys::new();
    keys_of_schema(&json_schema(), "", &mut keys);
    assert_eq!(keys, keys_of_reader());
}

/// Every key is described, and has a default or an example: so it is in the generated
/// configuration, in the section to which it belongs.
#[test]
fn the_default_configuration_shows_every_key() {
    fn check(schema: &Json, path: &str) {
        let section = schema.get("items").unwrap_or(schema);
        let properties = section.get("properties").and_then(Json::as_object);
        for (key, schema) in properties.into_iter().flatten() {
            let path = format!("{path}.{key}");
            if schema.get("properties").or_else(|| schema.pointer("/items/properties")).is_some() {
                check(schema, &path);
                continue;
            }
            let has = |keyword: &str| schema.get(keyword).is_some();
            assert!(has("description"), "{path} is not described");
            assert!(has("default") != has("examples"), "{path} has neither default nor example, or both");
        }
    }
    check(&json_schema(), "");
    let yaml = default_yaml();
    let lines = yaml.lines().filter_map(|line| line.trim_start_matches([' ', '#', '-']).split_once(':'));
    let shown: BTreeSet<&str> = lines.map(|(key, _)| key).collect();
    let known = keys_of_reader();
    assert_eq!(shown, known.values().flatten().map(String::as_str).collect());
}

#[test]
fn a_default_of_the_schema_is_the_default() {
    let schema = json_schema();
    for (path, expected) in [
        ("/properties/storage/properties/retention/default", Json::from("90d")),
        ("/properties/schedule/properties/windows/default", Json::Array(Vec::new())),
        ("/properties/schedule/properties/max_duty/default", Json::from("100%")),
        ("/properties/targets/items/properties/request/properties/temperature/default", Json::from(0.8)),
        ("/properties/targets/items/properties/url/examples/0", Json::from("http://127.0.0.1:11434")),
        ("/properties/targets/items/required/1", Json::from("url")),
        ("/properties/report/properties/keep/maximum", Json::from(100_000)),
    ] {
        assert_eq!(schema.pointer(path), Some(&expected), "{path}");
    }
    let described = schema.pointer("/properties/report/properties/every/description");
    assert_eq!(described, Some(&Json::from("from one report to the next; 1s to 365d")));
}

#[test]
fn what_is_sound_is_valid() {
    let validator = validator();
    let minimal = target("");
    let much = target(
        "    lane: on\n    grid: {workers: [1], batch: [1, 2]}\n    tls:\n    headers: {X-Team: red}\n    \
         budget: {tokens_per_day: 100000}\nschedule: {seed: 7, max_duty: 0.5, windows: [1:00-24:00]}\n\
         metrics: {histogram_labels: [], buckets: {request_duration: [1, 2.5]}}\ncanary: {every: 6h}\nstorage:\n",
    );
    let uncommented = default_yaml().replace("# lane", "lane").replace("# ca_file", "ca_file");
    let hook = target("    slots:\n      mode: server\n      process:\n      command: [set, '{workers}']\n");
    let own = [
        ("minimal", minimal),
        ("much", much),
        ("hook", hook),
        ("default", default_yaml()),
        ("uncommented", uncommented),
    ];
    for (name, text) in own.into_iter().map(|(name, text)| (name.to_owned(), text)).chain(examples()) {
        assert_eq!(faults(&validator, &text), [""; 0], "{name}");
    }
}

#[test]
fn what_is_unsound_is_invalid() {
    let validator = validator();
    for keys in [
        "    name: a/b",
        "    name: ...",
        "    url: ftp://host",
        "    model: 7",
        "    model: ''",
        "    lanes: x",
        "    api: grpc",
        "    headers: {x y: z}",
        "    headers: {x: 1}",
        "    tls: {insecure_skip_verify: 1}",
        "    api_key_file: a\n    api_key_env: b",
        "    grid: {workers: [1]}",
        "    grid: {preset: auto, workers: [1], batch: [1]}",
        "    grid: {workers: [0], batch: [1]}",
        "    grid: {workers: [], batch: [1]}",
        "    slots: {mode: both}",
        "    slots: {mode: server}",
        "    slots: {process: {preset: ollama}}",
        "    slots: {mode: client, command: ['{workers}']}",
        "    slots: {mode: server, process: {preset: ollama}, command: ['{workers}']}",
        "    slots: {mode: server, process: {}}",
        "    slots: {mode: server, process: {preset: tgi}}",
        "    slots: {mode: server, process: {preset: ollama, command: ['{workers}']}}",
        "    slots: {mode: server, process: {command: ['{workers}'], arguments: []}}",
        "    slots: {mode: server, process: {command: ['{workers}'], environment: {A B: c}}}",
        "    slots: {mode: server, process: {preset: ollama, context_per_slot: 0}}",
        "    slots: {mode: server, command: []}",
        "    slots: {mode: server, command: [1]}",
        "    environment: {gpu: on}",
        "    environment: {commands: {driver: []}}",
        "    environment: {commands: {driver: [1]}}",
        "    environment: {commands: {Driver: [a]}}",
        "    environment: {labels: {a b: c}}",
        "    environment: {labels: {a: ''}}",
        "    request: {timeout: 5}",
        "    request: {timeout: 5m1h}",
        "    request: {timeout: ''}",
        "    request: {temperature: 2.1}",
        "    request: {output_tokens: 0}",
        "    request: {prompt_tokens: 8, prompts_file: p}",
        "    budget: {tokens_per_day: 0}",
        "    budget: {tokens_per_day: 1.5}",
        "    validity: {load_ratio: 0.5}",
        "    validity: {polls_in_excess: 0}",
        "schedule: {seed: -1}",
        "schedule: {seed: 9007199254740992}",
        "schedule: {seed: 99999999999999999999}",
        "schedule: {windows: 22:00-06:00}",
        "schedule: {windows: [22-06]}",
        "schedule: {windows: [24:00-06:00]}",
        "schedule: {max_duty: 50}",
        "schedule: {max_duty: half}",
        "schedule: []",
        "metrics: {histogram_labels: [batch]}",
        "metrics: {buckets: {ttft: [1]}}",
        "metrics: {buckets: {request_duration: [0]}}",
        "metrics: {max_series: 0}",
        "canary: {every: never}",
        "canary: {every: 6}",
        "report: {keep: 0}",
    ] {
        // A key of a target that is given again takes the place of the first.
        let yaml = target(keys);
        assert!(!faults(&validator, &yaml).is_empty(), "the schema takes\n{yaml}");
        assert!(read(&yaml).is_err(), "the reader takes\n{yaml}");
    }
    for yaml in ["{}", "targets: []", "targets:", "targets: [{name: a}]", "targets: [{url: http://h}]", "targets: [7]"]
    {
        assert!(!faults(&validator, yaml).is_empty(), "the schema takes\n{yaml}");
        assert!(read(yaml).is_err(), "the reader takes\n{yaml}");
    }
}

//! The API of a running daemon, and whether docs/api.md names what it answers.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::Value;

use crate::support::{Stage, Target, eventually, get, root, simulator, soaked};

const LISTS: [&str; 7] = ["status", "targets", "cells", "optimum", "compare", "epochs", "events"];

pub(crate) fn api(address: SocketAddr, list: &str) -> Value {
    let (status, body) = get(address, &format!("/api/v1/{list}")).expect("an answer");
    assert_eq!(status, 200, "{list}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{list}: {error}: {body}"))
}

/// The names of all members, but for those of an identity or a load, which servers choose.
fn fields(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(fields).collect(),
        Value::Object(members) => {
            let below = |(name, value): (&String, &Value)| {
                let of_value = if name == "identity" || name == "load" { BTreeSet::new() } else { fields(value) };
                of_value.into_iter().chain([name.clone()]).collect::<Vec<_>>()
            };
            members.iter().flat_map(below).collect()
        }
        _ => BTreeSet::new(),
    }
}

#[test]
fn the_api_is_documented_and_says_what_metrics_and_history_say() {
    let (_sim, sim) = simulator(&[]);
    let stage = Stage::new();
    let (_daemon, address) = stage.run(&[Target::at(sim)]);
    soaked(address);
    let read = |file: &str| std::fs::read_to_string(root().join(file)).expect(file);
    let (contract, readme) = (read("docs/api.md"), read("README.md"));
    for list in LISTS {
        let answer = api(address, list);
        assert_eq!(answer.pointer("/targets/0/target"), Some(&Value::from("target")), "{list}: {answer}");
        let is_known = |name: &String| {
            let in_readme =
                ["llmsoak_", "llmsoak_cell_"].iter().any(|start| readme.contains(&format!("`{start}{name}`")));
            contract.contains(&format!("`{name}`")) || in_readme
        };
        let unknown: Vec<String> = fields(&answer).into_iter().filter(|name| !is_known(name)).collect();
        assert!(unknown.is_empty(), "{list}: not in docs/api.md: {unknown:?}");
    }
    let epochs = api(address, "epochs");
    let epoch = epochs.pointer("/targets/0/epochs/0/epoch").and_then(Value::as_i64);
    assert_eq!(epoch, Some(stage.history().one::<i64>("SELECT MAX(id) FROM epoch")));
    let cells = api(address, "cells");
    let rate = cells.pointer("/targets/0/cells/0/tokens_per_second").and_then(Value::as_f64).expect("a rate");
    let sql = format!("SELECT COUNT(*) FROM sample WHERE workers = 1 AND batch = 1 AND tokens_per_second = {rate:?}");
    eventually("the sample in the history", || (stage.history().one::<i64>(&sql) == 1).then_some(()));
    assert_eq!(get(address, "/api/v1/cells?target=x").expect("an answer").0, 404);
}

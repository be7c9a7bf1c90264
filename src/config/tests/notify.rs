//! Who is told of changes.

use crate::domain::notify::{GrafanaPlan, NOTIFY_TIMEOUT, NotifyPlan, WebhookPlan};

use super::*;

fn check_notify(keys: &str, expected: &NotifyPlan) {
    let yaml = target(&format!("notify: {keys}"));
    let config = read(&yaml).unwrap_or_else(|problems| panic!("{problems}\n{keys}"));
    assert_eq!(config.notify, *expected, "\n{keys}");
}

#[test]
fn nobody_is_told_without_an_address() {
    check_notify("{}", &NotifyPlan::default());
    check_notify("{webhook: {timeout: 3s}, grafana: {}}", &NotifyPlan::default());
}

#[test]
fn addresses_and_keys_are_read() {
    let url = Secret::new("https://chat.example/hooks/x?thread=1");
    let headers = vec![("x-key".to_owned(), Secret::new("v"))];
    let webhook = Some(WebhookPlan { url, headers, timeout: Duration::from_secs(3) });
    let keys = "{webhook: {url: \"https://chat.example/hooks/x?thread=1\", headers: {x-key: v}, timeout: 3s}}";
    check_notify(keys, &NotifyPlan { webhook, grafana: None });
    let token = Some(Secret::new("from-env"));
    let grafana = Some(GrafanaPlan { url: "http://g:3000".to_owned(), token, timeout: NOTIFY_TIMEOUT });
    check_notify("{grafana: {url: \"http://g:3000/\", token_env: KEY}}", &NotifyPlan { webhook: None, grafana });
}

#[test]
fn what_is_wrong_is_told_without_the_address() {
    let check =
        |keys: &str, expected: &str| check(&target(&format!("notify: {keys}")), &format!("f:4: notify.{expected}"));
    let form = "webhook.url: must lead to an address that starts with http:// or https://";
    check("{webhook: {url: hooks.example/s3cret}}", form);
    check("{webhook: {url: \"ftp://hooks.example/s3cret\"}}", form);
    check(
        "{grafana: {token_env: KEY}}",
        "grafana.url: is missing beside `token_env`; hint: give the address of that Grafana, too",
    );
}

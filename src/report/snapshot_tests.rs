//! Reports on a disk that others use too.

use super::*;

fn report(markdown: &str) -> Report {
    let chart = Chart { file_name: "rows.svg".to_owned(), svg: "<svg></svg>".to_owned() };
    Report { markdown: markdown.to_owned(), charts: vec![chart] }
}

fn at(second: i64) -> Timestamp {
    let time: Timestamp = "2026-11-24T17:01:02Z".parse().expect("is a time");
    time + SignedDuration::from_secs(second)
}

fn write_at(dir: &Path, second: i64, keep: usize) -> PathBuf {
    write(dir, &report("# Report"), "box", at(second), keep).expect("can be written")
}

/// What lies in the target's folder, in order.
fn check(dir: &Path, expected: &[&str]) {
    let mut names = names(&dir.join("box")).expect("can be listed");
    names.sort();
    assert_eq!(names, expected);
}

#[test]
fn a_report_lies_in_its_folder_and_latest_leads_there() {
    let dir = tempfile::tempdir().expect("has a place");
    let folder = write_at(dir.path(), 0, 3);
    assert_eq!(folder, dir.path().join("box/20261124T170102Z"));
    assert_eq!(fs::read_to_string(folder.join("report.md")).expect("is there"), "# Report");
    assert_eq!(fs::read_to_string(folder.join("charts/rows.svg")).expect("is there"), "<svg></svg>");
    assert_eq!(fs::read_link(dir.path().join("box/latest")).expect("is a link"), Path::new("20261124T170102Z"));
    write_at(dir.path(), 1, 3);
    assert_eq!(fs::read_link(dir.path().join("box/latest")).expect("is a link"), Path::new("20261124T170103Z"));
    check(dir.path(), &["20261124T170102Z", "20261124T170103Z", "latest"]);
}

#[test]
fn the_newest_report_is_read_back_as_it_was_written() {
    let dir = tempfile::tempdir().expect("has a place");
    assert!(latest(dir.path(), "box").expect("can be asked").is_none());
    write_at(dir.path(), 0, 3);
    let first = latest(dir.path(), "box").expect("can be asked").expect("is there");
    write(dir.path(), &report("# Second"), "box", at(1), 3).expect("can be written");
    let second = latest(dir.path(), "box").expect("can be asked").expect("is there");
    // Who holds the first goes on reading it.
    assert_eq!(first.report().expect("can be read"), report("# Report"));
    assert_eq!(second.report().expect("can be read"), report("# Second"));
    assert_eq!(second.generated_at(), at(1));
}

#[test]
fn all_that_are_kept_are_found_by_name() {
    let dir = tempfile::tempdir().expect("has a place");
    assert!(all(dir.path(), "box").expect("can be asked").is_empty());
    (0..3).for_each(|second| drop(write_at(dir.path(), second, 2)));
    let names: Vec<String> = all(dir.path(), "box").expect("can be asked").iter().map(Stored::name).collect();
    assert_eq!(names, ["20261124T170104Z", "20261124T170103Z"]);
    for (name, is_there) in [("20261124T170103Z", true), ("20261124T170102Z", false), ("latest", false), ("..", false)]
    {
        assert_eq!(of_name(dir.path(), "box", name).expect("can be asked").is_some(), is_there, "{name}");
    }
}

#[test]
fn a_chart_is_found_by_its_name_alone() {
    let dir = tempfile::tempdir().expect("has a place");
    let folder = write_at(dir.path(), 0, 3);
    symlink("/etc/hostname", folder.join("charts/link.svg")).expect("can be linked");
    let stored = latest(dir.path(), "box").expect("can be asked").expect("is there");
    let check = |name: &str, expected: Option<&str>| {
        assert_eq!(stored.chart(name).expect("can be asked").as_deref(), expected, "{name}");
    };
    check("rows.svg", Some("<svg></svg>"));
    for name in ["", ".", "..", "../report.md", "./rows.svg", "/etc/hostname", "link.svg", "gone.svg"] {
        check(name, None);
    }
}

#[test]
fn a_link_that_leads_elsewhere_is_not_followed() {
    let dir = tempfile::tempdir().expect("has a place");
    fs::create_dir_all(dir.path().join("box")).expect("can be made");
    symlink("/etc", dir.path().join("box/latest")).expect("can be linked");
    assert!(latest(dir.path(), "box").expect("can be asked").is_none());
}

#[test]
fn all_reports_are_listed() {
    let dir = tempfile::tempdir().expect("has a place");
    write_at(dir.path(), 0, 3);
    write_at(dir.path(), 1, 3);
    let index = fs::read_to_string(dir.path().join("index.md")).expect("is there");
    let listed = "# llmsoak\n\n## box\n\n- [2026-11-24 17:01:03 UTC](box/20261124T170103Z/report.md)\n\
                  - [2026-11-24 17:01:02 UTC](box/20261124T170102Z/report.md)\n";
    assert_eq!(index, listed);
}

#[test]
fn only_the_newest_are_kept() {
    let dir = tempfile::tempdir().expect("has a place");
    (0..5).for_each(|second| drop(write_at(dir.path(), second, 2)));
    check(dir.path(), &["20261124T170105Z", "20261124T170106Z", "latest"]);
    write_at(dir.path(), 5, 0);
    check(dir.path(), &["20261124T170107Z", "latest"]);
}

#[test]
fn the_report_just_written_stays_though_the_clock_was_set_back() {
    let dir = tempfile::tempdir().expect("has a place");
    write_at(dir.path(), 10, 1);
    write_at(dir.path(), 0, 1);
    check(dir.path(), &["20261124T170102Z", "latest"]);
}

#[test]
fn reports_of_one_second_stand_side_by_side() {
    let dir = tempfile::tempdir().expect("has a place");
    (0..3).for_each(|_| drop(write_at(dir.path(), 0, 2)));
    check(dir.path(), &["20261124T170102Z-2", "20261124T170102Z-3", "latest"]);
}

#[test]
fn foreign_things_are_left_alone() {
    let dir = tempfile::tempdir().expect("has a place");
    let target = dir.path().join("box");
    // Named like a report but none; like none but holding one; a link to somewhere else.
    fs::create_dir_all(target.join("20200101T000000Z")).expect("can be made");
    fs::create_dir_all(target.join("20200101T000000Z-02")).expect("can be made");
    fs::write(target.join("20200101T000000Z-02/report.md"), "").expect("can be written");
    fs::write(target.join("notes.txt"), "").expect("can be written");
    symlink(target.join("20200101T000000Z-02"), target.join("20200102T000000Z")).expect("can be linked");
    (0..3).for_each(|second| drop(write_at(dir.path(), second, 1)));
    let foreign = ["20200101T000000Z", "20200101T000000Z-02", "20200102T000000Z"];
    check(dir.path(), &[&foreign[..], &["20261124T170104Z", "latest", "notes.txt"]].concat());
}

#[test]
fn a_foreign_latest_is_not_replaced() {
    let dir = tempfile::tempdir().expect("has a place");
    fs::create_dir_all(dir.path().join("box")).expect("can be made");
    fs::write(dir.path().join("box/latest"), "mine").expect("can be written");
    let error = write(dir.path(), &report(""), "box", at(0), 1).expect_err("must refuse");
    assert!(error.to_string().contains("cannot link to the newest report"), "{error}");
    assert_eq!(fs::read_to_string(dir.path().join("box/latest")).expect("is there"), "mine");
}

#[test]
fn a_report_that_cannot_be_written_leaves_nothing() {
    let dir = tempfile::tempdir().expect("has a place");
    let mut report = report("");
    report.charts.push(Chart { file_name: "no/such/folder.svg".to_owned(), svg: String::new() });
    let error = write(dir.path(), &report, "box", at(0), 1).expect_err("must fail");
    assert!(error.to_string().contains("cannot write"), "{error}");
    check(dir.path(), &[]);
}

#[test]
fn what_a_killed_process_left_goes_after_a_while() {
    let dir = tempfile::tempdir().expect("has a place");
    for second in [-3601, -10] {
        let left = dir.path().join("box").join(unfinished_name(at(second), "report"));
        write_files(&left, &report("")).expect("can be written");
    }
    write_at(dir.path(), 0, 1);
    check(dir.path(), &[&unfinished_name(at(-10), "report"), "20261124T170102Z", "latest"]);
}

#[test]
fn target_names_become_safe_folder_names() {
    let check = |target: &str, expected: &str| assert_eq!(folder_name(target), expected, "{target}");
    check("gpu-01.rack_2", "gpu-01.rack_2");
    check("../etc", "_._etc-54caf568cfae66bc");
    check("a/b", "a_b-e620c3190468cf61");
    check("a:b", "a_b-e661911904a01160");
    check("", "_-cbf29ce484222325");
    check(".", "_-af63a34c86018bb1");
    assert!(folder_name(&"x".repeat(300)).len() < 100);
}

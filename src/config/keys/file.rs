//! The whole file, and the sections that are no more than a few keys.

use crate::domain::plan::{MetricsPlan, RegressionPlan, ReportPlan, SchedulePlan, StoragePlan};
use crate::domain::{EstimatePlan, LatencyMeasure, SampleWindow, ServiceLevel};

use super::super::Config;
use super::super::files::Surroundings;
use super::super::kind::{duration, number, one_of, path, share, whole};
use super::super::section::Section;
use super::super::value::{buckets, off_or, one_list_of};
use super::notify::notify;
use super::schedule::schedule;
use super::target::targets;
use super::{
    CANARY_EVERY, CELL_DETAILS, COUNT, ESTIMATE_WINDOW, FALSE_ALARMS, HISTOGRAM_LABELS, LANGUAGES, MINIMUM_EFFECT,
    REPORT_EVERY, REPORTS_KEPT, RETENTION, SERVICE_LEVEL, WINDOW_SAMPLES,
};

/// The whole file.
pub(in crate::config) fn config(root: &mut Section<'_>, around: Surroundings<'_>) -> Config {
    let storage = root.section("storage", storage);
    let (schedule, seed_was_drawn) = root.section("schedule", |s| schedule(s, around));
    let canary_every = root.section("canary", |s| s.take_or("every", schedule.canary_every, off_or(CANARY_EVERY)));
    let reference = schedule.estimates.reference;
    let window = root.section("estimate", window);
    let service_level = root.section("objectives", |s| s.section("slo", service_level));
    let estimates = EstimatePlan { window, service_level, reference };
    let schedule = SchedulePlan { canary_every, estimates, ..schedule };
    Config {
        storage,
        targets: targets(root, around, schedule.warmup_requests),
        schedule,
        seed_was_drawn,
        report: root.section("report", report),
        regression: root.section("regression", regression),
        metrics: root.section("metrics", metrics),
        notify: root.section("notify", |s| notify(s, around)),
    }
}

fn storage(s: &mut Section<'_>) -> StoragePlan {
    let default = StoragePlan::default();
    StoragePlan {
        path: s.take_or("path", default.path, path()),
        retention: s.take_or("retention", default.retention, duration(RETENTION)),
    }
}

fn window(s: &mut Section<'_>) -> SampleWindow {
    let default = SampleWindow::default();
    SampleWindow {
        samples: s.take_or("window_samples", default.samples, whole(WINDOW_SAMPLES)),
        age: s.take_or("window", default.age, duration(ESTIMATE_WINDOW)),
    }
}

fn service_level(s: &mut Section<'_>) -> ServiceLevel {
    let default = ServiceLevel::default();
    let mut limit = |key, default| s.take_or(key, default, off_or(SERVICE_LEVEL));
    ServiceLevel {
        time_to_first_token_p95: limit("time_to_first_token_p95", default.time_to_first_token_p95),
        inter_token_latency_p95: limit("inter_token_latency_p95", default.inter_token_latency_p95),
    }
}

fn report(s: &mut Section<'_>) -> ReportPlan {
    let default = ReportPlan::default();
    ReportPlan {
        every: s.take_or("every", default.every, duration(REPORT_EVERY)),
        keep: s.take_or("keep", default.keep, whole(REPORTS_KEPT)),
        language: s.take_or("language", default.language, one_of(LANGUAGES)),
    }
}

fn regression(s: &mut Section<'_>) -> RegressionPlan {
    let default = RegressionPlan::default();
    let rate = default.false_alarms_per_1000_cycles;
    RegressionPlan {
        minimum_effect: s.take_or("minimum_effect", default.minimum_effect, share(MINIMUM_EFFECT)),
        false_alarms_per_1000_cycles: s.take_or("false_alarms_per_1000_cycles", rate, number(FALSE_ALARMS)),
    }
}

fn metrics(s: &mut Section<'_>) -> MetricsPlan {
    let default = MetricsPlan::default();
    MetricsPlan {
        cells: s.take_or("cells", default.cells, one_of(CELL_DETAILS)),
        histogram_labels: s.take_or("histogram_labels", default.histogram_labels, one_list_of(HISTOGRAM_LABELS)),
        buckets: s.section("buckets", |s| {
            let bounds = |&measure: &LatencyMeasure| Some((measure, s.take(measure.as_str(), buckets())?));
            LatencyMeasure::ALL.iter().filter_map(bounds).collect()
        }),
        max_series: s.take_or("max_series", default.max_series, whole(COUNT)),
    }
}

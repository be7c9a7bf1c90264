//! How the evaluation series are made unlike each other: the usual climate, and harsher or
//! just other ones, since nature is nobody's generator.

/// What the series of a set are drawn from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Climate {
    pub(crate) name: &'static str,
    /// Factors of the noise's deviations: of each cell, and of all in common.
    pub(crate) cell_noise: f64,
    pub(crate) common_noise: f64,
    /// Autocorrelations from cycle to cycle, from and to.
    pub(crate) cell_phi: (f64, f64),
    pub(crate) common_phi: (f64, f64),
    /// The part of series with heavy tails, and the degrees of freedom of their Student's t.
    pub(crate) heavy: f64,
    pub(crate) degrees: u32,
    /// Factors of what moves by itself.
    pub(crate) drift: f64,
    pub(crate) day: f64,
    pub(crate) warmup_at_start: f64,
    pub(crate) warmup_at_change: f64,
    /// The deviation of a slow wandering of all cells, log-ratio.
    pub(crate) wandering: f64,
    /// In a cycle: changes of identity that do nothing, and dips.
    pub(crate) changes: f64,
    pub(crate) dips: f64,
    /// Of the changes that do nothing: those with a dip right before or right after.
    pub(crate) dips_beside: f64,
    /// Measurements that are missing.
    pub(crate) missing: f64,
    pub(crate) seconds_per_cycle: &'static [f64],
    /// How long a cycle lasts, as a part of the usual.
    pub(crate) spacing: (f64, f64),
    /// Token rates alone, no latencies.
    pub(crate) is_rate_alone: bool,
    /// Eight cells.
    pub(crate) is_small: bool,
}

impl Climate {
    /// What the tables by stratum are of.
    pub(crate) const USUAL: Self = Self {
        name: "usual",
        cell_noise: 1.0,
        common_noise: 1.0,
        cell_phi: (0.2, 0.5),
        common_phi: (0.3, 0.7),
        heavy: 0.5,
        degrees: 4,
        drift: 1.0,
        day: 1.0,
        warmup_at_start: 1.0,
        warmup_at_change: 1.0,
        wandering: 0.0,
        changes: 0.012,
        dips: 0.012,
        dips_beside: 0.0,
        missing: 0.015,
        seconds_per_cycle: &[600.0, 1200.0, 1800.0, 2400.0, 3600.0],
        spacing: (0.97, 1.03),
        is_rate_alone: false,
        is_small: false,
    };

    /// What the detector must also live with.
    pub(crate) const STRESSES: [Self; 19] = [
        Self { name: "no common noise", common_noise: 0.0, ..Self::USUAL },
        Self { name: "no memory", cell_phi: (0.0, 0.0), common_phi: (0.0, 0.0), ..Self::USUAL },
        Self { name: "memory of 0.3", cell_phi: (0.3, 0.3), common_phi: (0.3, 0.3), ..Self::USUAL },
        Self { name: "memory of 0.5", cell_phi: (0.5, 0.5), common_phi: (0.5, 0.5), ..Self::USUAL },
        Self { name: "memory of 0.7", cell_phi: (0.7, 0.7), common_phi: (0.7, 0.7), ..Self::USUAL },
        Self { name: "heavier tails (t of 3)", heavy: 1.0, degrees: 3, ..Self::USUAL },
        Self { name: "half as noisy again", cell_noise: 1.5, common_noise: 1.5, ..Self::USUAL },
        Self { name: "three times the day", day: 3.0, ..Self::USUAL },
        Self { name: "three times the drift", drift: 3.0, ..Self::USUAL },
        Self { name: "wandering by 0.5 %", wandering: 0.005, ..Self::USUAL },
        Self { name: "three times the warm-ups", warmup_at_start: 3.0, warmup_at_change: 3.0, ..Self::USUAL },
        Self { name: "changes of identity 4 times as often", changes: 0.05, ..Self::USUAL },
        Self { name: "dips 3 times as often", dips: 0.036, ..Self::USUAL },
        Self { name: "dips beside changes of identity", dips_beside: 1.0, changes: 0.024, ..Self::USUAL },
        Self { name: "a quarter missing", missing: 0.25, ..Self::USUAL },
        Self { name: "irregular cycles", spacing: (0.3, 3.0), ..Self::USUAL },
        Self { name: "cycles of a minute", seconds_per_cycle: &[60.0], ..Self::USUAL },
        Self { name: "token rates alone", is_rate_alone: true, ..Self::USUAL },
        Self { name: "eight cells", is_small: true, ..Self::USUAL },
    ];
}

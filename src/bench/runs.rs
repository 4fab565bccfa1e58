//! What the runs of a round gave, gathered by name; and the figures that come of it.

use std::collections::HashMap;

use super::stats::Spread;
use super::table::{Beside, Figure, Goal};

/// The runs of one round. The n-th value of each name was measured in the n-th run.
pub(super) struct Runs {
    round: &'static str,
    values: HashMap<String, Vec<f64>>,
}

impl Runs {
    pub(super) fn new(round: &'static str) -> Self {
        Self { round, values: HashMap::new() }
    }

    pub(super) fn add(&mut self, name: impl Into<String>, value: f64) {
        self.values.entry(name.into()).or_default().push(value);
    }

    /// Nothing where nothing was measured.
    pub(super) fn figure(&self, name: &str, unit: &'static str, goal: Option<Goal>) -> Option<Figure> {
        let spread = Spread::of(self.values.get(name)?)?;
        Some(Figure { round: self.round, name: name.to_owned(), unit, spread, beside: None, goal })
    }

    /// Beside another name, run by run.
    pub(super) fn ratio(
        &self,
        name: &str,
        unit: &'static str,
        beside: &str,
        what: &str,
        goal: Option<Goal>,
    ) -> Option<Figure> {
        let pairs = self.values.get(name)?.iter().zip(self.values.get(beside)?);
        let times: Vec<f64> = pairs.filter(|(_, other)| **other != 0.0).map(|(own, other)| own / other).collect();
        let beside = Beside { what: what.to_owned(), times: Spread::of(&times)? };
        self.figure(name, unit, goal).map(|figure| Figure { beside: Some(beside), ..figure })
    }
}

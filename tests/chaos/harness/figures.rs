//! What a row shows, beside what it has to show.

use std::time::Duration;

use super::checker::Breaches;

#[derive(Default)]
pub(crate) struct Figures {
    /// What was done, for who reads the record: "200 kills, 21,044 events".
    pub(crate) done: Vec<String>,
    pub(crate) shown: Vec<Shown>,
    /// Laws that were broken.
    pub(crate) broken: Vec<&'static str>,
}

pub(crate) struct Shown {
    pub(crate) what: String,
    pub(crate) reached: bool,
}

impl Figures {
    pub(crate) fn did(&mut self, what: impl Into<String>) {
        self.done.push(what.into());
    }

    pub(crate) fn show(&mut self, what: impl Into<String>, reached: bool) {
        self.shown.push(Shown { what: what.into(), reached });
    }

    /// A count of what must not be.
    pub(crate) fn none(&mut self, what: &str, count: usize) {
        self.show(format!("{count} {what}"), count == 0);
    }

    pub(crate) fn at_most(&mut self, what: &str, seen: usize, most: usize) {
        self.show(format!("{what}: {seen} (at most {most})"), seen <= most);
    }

    pub(crate) fn no_longer_than(&mut self, what: &str, seen: Duration, most: Duration) {
        self.show(format!("{what}: {} ms (at most {} ms)", seen.as_millis(), most.as_millis()), seen <= most);
    }

    /// Breaches of the laws, each a figure that was not reached.
    pub(crate) fn found(&mut self, breaches: &Breaches) {
        breaches.lines().into_iter().for_each(|line| self.show(line, false));
        self.broken.extend(breaches.laws());
    }

    pub(crate) fn failed(&self) -> Vec<&str> {
        self.shown.iter().filter(|shown| !shown.reached).map(|shown| shown.what.as_str()).collect()
    }
}

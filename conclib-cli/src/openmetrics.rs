//! The text of OpenMetrics: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The content type of the text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The kind of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only rises. The names of its series end in `_total`.
    Counter,
    /// It rises and falls.
    Gauge,
}

/// A family of series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Family {
    /// Its name, without `_total`.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
}

/// A counter.
pub(crate) const fn counter(name: &'static str, help: &'static str) -> Family {
    let kind = Kind::Counter;
    Family { name, kind, help }
}

/// A gauge.
pub(crate) const fn gauge(name: &'static str, help: &'static str) -> Family {
    let kind = Kind::Gauge;
    Family { name, kind, help }
}

/// Labels with their values.
pub(crate) type Labels<'a> = &'a [(&'static str, &'a str)];

/// The values of all series.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Families by their names, and series by their labels as they are written.
    families: BTreeMap<&'static str, (Family, BTreeMap<String, f64>)>,
}

impl Figures {
    /// Adds a value to a series.
    #[expect(
        clippy::cast_precision_loss,
        reason = "values are floating-point numbers"
    )]
    pub(crate) fn add(&mut self, family: Family, labels: Labels<'_>, value: u64) {
        *self.series(family, labels) += value as f64;
    }

    /// The greatest value of a series.
    pub(crate) fn max(&mut self, family: Family, labels: Labels<'_>, value: f64) {
        let series = self.series(family, labels);
        *series = series.max(value);
    }

    fn series(&mut self, family: Family, labels: Labels<'_>) -> &mut f64 {
        let (_, series) = self
            .families
            .entry(family.name)
            .or_insert_with(|| (family, BTreeMap::new()));
        series.entry(written(labels)).or_default()
    }

    /// The text of all families.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (family, series) in self.families.values() {
            let Family { name, kind, help } = family;
            let (kind, suffix) = match kind {
                Kind::Counter => ("counter", "_total"),
                Kind::Gauge => ("gauge", ""),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# TYPE {name} {kind}\n# HELP {name} {help}");
            for (labels, value) in series {
                let _ = writeln!(text, "{name}{suffix}{labels} {value}");
            }
        }
        text.push_str("# EOF\n");
        text
    }
}

/// Labels as they are written.
fn written(labels: Labels<'_>) -> String {
    let pairs = labels.iter().map(|(name, value)| {
        let value = value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    });
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_together() {
        const HANDLED: Family = counter("b_handled", "Messages.");
        const OLDEST: Family = gauge("a_oldest", "Age.");
        let mut figures = Figures::default();
        figures.add(HANDLED, &[("node", "eu-2")], 1);
        figures.max(OLDEST, &[("node", "a\"\\\n")], 0.5);
        figures.add(HANDLED, &[("node", "eu-1")], 2);
        figures.add(HANDLED, &[("node", "eu-2")], 3);
        figures.max(OLDEST, &[("node", "a\"\\\n")], 0.25);
        let expected = "# TYPE a_oldest gauge\n# HELP a_oldest Age.\na_oldest{node=\"a\\\"\\\\\\n\"} 0.5\n\
            # TYPE b_handled counter\n# HELP b_handled Messages.\n\
            b_handled_total{node=\"eu-1\"} 2\nb_handled_total{node=\"eu-2\"} 4\n# EOF\n";
        assert_eq!(figures.text(), expected);
    }
}

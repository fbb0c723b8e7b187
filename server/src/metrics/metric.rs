//! One metric with its samples, and how it is encoded.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use waltz_core::measure::Histogram;

/// A metric and its samples.
#[derive(Debug, Clone)]
pub(super) struct Metric {
    /// Its name, without what its kind appends.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The names of its labels.
    pub(super) labels: &'static [&'static str],
    /// What it means, with its unit.
    pub(super) help: &'static str,
    samples: Vec<(Vec<String>, Value)>,
}

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A sample's value.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
    /// A distribution, and the unit that its values are in.
    Distribution(Histogram, f64),
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<bool> for Value {
    fn from(is_so: bool) -> Self {
        Self::Whole(is_so.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

/// What one millionth of a second is in seconds.
pub(super) const MICROSECOND: f64 = 1e-6;

impl Metric {
    /// A count that only grows.
    pub(super) fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Counter, help)
    }

    /// A figure that goes up and down.
    pub(super) fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Gauge, help)
    }

    /// A distribution.
    pub(super) fn histogram(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Histogram, help)
    }

    fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, kind, labels: &[], help, samples: Vec::new() }
    }

    /// Samples are told apart by these.
    pub(super) fn by(self, labels: &'static [&'static str]) -> Self {
        Self { labels, ..self }
    }

    /// Adds the only sample, if there is one.
    pub(super) fn value(self, value: Option<impl Into<Value>>) -> Self {
        self.samples(value.map(|value| (Vec::new(), value)))
    }

    /// Adds samples, each with a text for each label.
    pub(super) fn samples<V: Into<Value>>(
        mut self,
        samples: impl IntoIterator<Item = (Vec<String>, V)>,
    ) -> Self {
        for (labels, value) in samples {
            assert_eq!(labels.len(), self.labels.len(), "{} has its labels", self.name);
            self.samples.push((labels, value.into()));
        }
        self
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        let mut encoder = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        for (texts, value) in &self.samples {
            if texts.is_empty() {
                self.encode_value(&mut encoder, value)?;
            } else {
                let labels = self.labels.iter().copied().zip(texts.iter().map(String::as_str));
                let labels: Vec<(&str, &str)> = labels.collect();
                self.encode_value(&mut encoder.encode_family(&labels)?, value)?;
            }
        }
        Ok(())
    }

    fn encode_value(&self, encoder: &mut MetricEncoder<'_>, value: &Value) -> fmt::Result {
        match (self.kind, value) {
            (Kind::Counter, Value::Whole(count)) => {
                encoder.encode_counter::<NoLabelSet, _, u64>(count, None)
            }
            (Kind::Counter, Value::Real(count)) => {
                encoder.encode_counter::<NoLabelSet, _, u64>(count, None)
            }
            (_, Value::Whole(number)) => encoder.encode_gauge(number),
            (_, Value::Real(number)) => encoder.encode_gauge(number),
            (_, Value::Distribution(histogram, unit)) => {
                let bound = |(bound, count): (u64, u64)| (bound as f64 * unit, count);
                let mut buckets: Vec<_> = histogram.buckets().map(bound).collect();
                let within: u64 = buckets.iter().map(|(_, count)| count).sum();
                buckets.push((f64::INFINITY, histogram.count() - within));
                let sum = histogram.sum() as f64 * unit;
                encoder.encode_histogram::<NoLabelSet>(sum, histogram.count(), &buckets, None)
            }
        }
    }
}

/// The metrics of one scrape.
#[derive(Debug)]
pub(super) struct Collected(pub(super) Vec<Metric>);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|metric| metric.encode(&mut encoder))
    }
}

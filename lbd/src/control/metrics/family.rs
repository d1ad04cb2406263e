//! One metric: its name, what it means, and where its samples come from.

use super::MetricsView;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

/// One row of the table in [`super::families`].
pub struct Family {
    /// As in the documentation.
    pub name: &'static str,
    /// What it says, in one plain sentence.
    pub help: &'static str,
    /// Whether it only grows.
    pub kind: Kind,
    /// Reads the samples from the picture.
    pub fill: fn(&MetricsView, &mut Samples),
}

/// Whether a metric only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until lbd starts anew.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often a value fell below each bound.
    Histogram,
}

/// Collects the samples of one metric.
pub struct Samples {
    kind: Kind,
    metrics: Vec<Metric>,
}

impl Samples {
    /// One sample. The encoder escapes label values.
    pub fn push(&mut self, labels: &[(&str, &str)], value: f64) {
        let mut metric = labelled(labels);
        match self.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            // It has no single value: [`Samples::histogram`] is how it is told.
            Kind::Histogram => return,
        }
        self.metrics.push(metric);
    }

    /// One histogram: upper `bounds` with how many values fell in each bucket (not cumulated), then
    /// all values and their sum.
    pub fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        bounds: &[f64],
        buckets: &[u64],
        count: u64,
        sum: f64,
    ) {
        let mut below = 0;
        let buckets = bounds.iter().zip(buckets).map(|(bound, n)| {
            below += n;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(below);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(count);
        histogram.set_sample_sum(sum);
        let mut metric = labelled(labels);
        metric.set_histogram(histogram);
        self.metrics.push(metric);
    }

    /// One sample of a whole number. Prometheus keeps a double: exact up to 2^53, which 10 Gbit/s
    /// of bytes reach after 83 days, and off by less than a part in 10^15 from there on.
    pub fn count(&mut self, labels: &[(&str, &str)], value: u64) {
        self.push(labels, value as f64);
    }

    /// One sample of 1 for yes, 0 for no.
    pub fn flag(&mut self, labels: &[(&str, &str)], value: bool) {
        self.count(labels, u64::from(value));
    }
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let labels = labels.iter().map(|&(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.into());
        pair.set_value(value.into());
        pair
    });
    Metric::from_label(labels.collect())
}

impl Family {
    /// The metric as the encoder wants it; `None` when it has no samples now.
    pub fn collect(&self, view: &MetricsView) -> Option<MetricFamily> {
        let mut samples = Samples {
            kind: self.kind,
            metrics: Vec::new(),
        };
        (self.fill)(view, &mut samples);
        if samples.metrics.is_empty() {
            return None;
        }
        let mut family = MetricFamily::default();
        family.set_name(self.name.into());
        family.set_help(self.help.into());
        family.set_field_type(match self.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        family.set_metric(samples.metrics);
        Some(family)
    }
}

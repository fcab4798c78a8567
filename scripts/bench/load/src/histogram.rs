//! Durations in nanoseconds, counted in buckets that are at most 1/128 (0.8 %) wide, so percentiles are
//! that exact; mean and max are exact.

/// Buckets for each doubling; also all values below it have a bucket of their own.
const STEPS: u64 = 128;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Room for every u64.
const BUCKETS: usize = ((64 - STEP_BITS as usize) + 1) * STEPS as usize;

pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum: u128,
    max: u64,
}

impl Histogram {
    pub fn new() -> Histogram {
        Histogram { buckets: vec![0; BUCKETS], count: 0, sum: 0, max: 0 }
    }

    pub fn record(&mut self, nanoseconds: u64) {
        self.buckets[bucket(nanoseconds)] += 1;
        self.count += 1;
        self.sum += u128::from(nanoseconds);
        self.max = self.max.max(nanoseconds);
    }

    pub fn mean_ms(&self) -> f64 {
        self.sum as f64 / self.count as f64 / 1e6
    }

    pub fn max_ms(&self) -> f64 {
        self.max as f64 / 1e6
    }

    /// The duration that `percent` of all do not exceed; NaN when nothing was recorded.
    pub fn percentile_ms(&self, percent: f64) -> f64 {
        let wanted = (self.count as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return (upper_end(index).min(self.max)) as f64 / 1e6;
            }
        }
        f64::NAN
    }
}

fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let doublings = 63 - value.leading_zeros() - STEP_BITS;
    ((u64::from(doublings) + 1) * STEPS + ((value >> doublings) - STEPS)) as usize
}

fn upper_end(index: usize) -> u64 {
    let index = index as u64;
    if index < STEPS {
        return index;
    }
    let doublings = index / STEPS - 1;
    ((u128::from(index % STEPS + STEPS + 1) << doublings) - 1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_within_a_hundredth_of_its_end() {
        for value in (0..63).flat_map(|bit| [1u64 << bit, (1 << bit) + 1, (1 << bit) * 3 / 2]) {
            let end = upper_end(bucket(value));
            assert!(end >= value, "{value} above the end {end} of its bucket");
            assert!((end - value) as f64 <= value as f64 / 100.0, "{value} far from {end}");
        }
    }

    #[test]
    fn percentiles_of_a_thousand_even_steps() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|step| histogram.record(step * 1_000_000));
        assert!((histogram.percentile_ms(50.0) - 500.0).abs() < 5.0);
        assert!((histogram.percentile_ms(99.0) - 990.0).abs() < 10.0);
        assert_eq!(histogram.percentile_ms(100.0), 1000.0);
    }
}

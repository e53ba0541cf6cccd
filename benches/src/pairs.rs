//! Paired rounds: two contestants in turn, ratio by round, median of the
//! ratios. The machine's mood changes by a factor of two within minutes; what
//! two neighbours in one round differ by is what can be trusted.

use std::time::Duration;

/// What one side of a pair measured, round by round.
#[derive(Debug, Default)]
pub struct Side(Vec<f64>);

impl Side {
    fn median(&self) -> f64 {
        median(self.0.clone())
    }

    fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs `rounds` rounds of both and prints one line: `title  limit  ours  ratio`. The order changes
/// from round to round; each side answers with the CPU time of `per_round` units.
pub fn compare(
    title: &str,
    rounds: usize,
    per_round: u64,
    mut limit: impl FnMut(u64) -> Duration,
    mut ours: impl FnMut(u64) -> Duration,
) {
    let unit = |spent: Duration| spent.as_secs_f64() * 1e9 / per_round as f64;
    let (mut a, mut b, mut ratios) = (Side::default(), Side::default(), Vec::new());
    for round in 0..rounds {
        let (x, y) = if round % 2 == 0 {
            let x = unit(limit(per_round));
            (x, unit(ours(per_round)))
        } else {
            let y = unit(ours(per_round));
            (unit(limit(per_round)), y)
        };
        a.0.push(x);
        b.0.push(y);
        ratios.push(y / x);
    }
    println!(
        "{title:<34} limit {:>9.0} ns  ours {:>9.0} ns  ratio {:>5.2} (median of {rounds} rounds; best over best {:.2})",
        a.median(),
        b.median(),
        median(ratios),
        b.least() / a.least(),
    );
}

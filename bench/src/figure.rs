//! A figure: rounds, medians, what it is compared with, and the table.

/// What has to be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(dead_code, reason = "every figure uses one of them")]
pub enum Target {
    /// The ratio to the baseline.
    Ratio(f64),
    /// So much of the figure's own unit, or more.
    AtLeast(f64),
    /// So much of the figure's own unit, or less.
    AtMost(f64),
    /// Told, not judged.
    None,
}

/// One row of the table.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What is measured.
    pub name: String,
    /// Of `measured` and `baseline`.
    pub unit: &'static str,
    /// One value a round.
    pub measured: Vec<f64>,
    /// One value a round, measured next to the value of the same place; may be empty.
    pub baseline: Vec<f64>,
    /// What has to be reached.
    pub target: Target,
}

impl Figure {
    /// Median of what was measured.
    pub fn measured(&self) -> f64 {
        median(&self.measured)
    }

    /// Median of the rounds' ratios, when there is a baseline.
    pub fn ratio(&self) -> Option<f64> {
        let ratios: Vec<f64> =
            self.measured.iter().zip(&self.baseline).map(|(own, other)| own / other).collect();
        (!ratios.is_empty()).then(|| median(&ratios))
    }

    /// Whether the target is reached.
    pub fn is_reached(&self) -> bool {
        match self.target {
            Target::Ratio(least) => self.ratio().is_some_and(|ratio| ratio >= least),
            Target::AtLeast(least) => self.measured() >= least,
            Target::AtMost(most) => self.measured() <= most,
            Target::None => true,
        }
    }

    fn cells(&self) -> [String; 6] {
        let target = match self.target {
            Target::Ratio(least) => format!("≥ {:.0}%", least * 100.0),
            Target::AtLeast(least) => format!("≥ {} {}", number(least), self.unit),
            Target::AtMost(most) => format!("≤ {} {}", number(most), self.unit),
            Target::None => "–".to_owned(),
        };
        let baseline = match self.baseline.as_slice() {
            [] => "–".to_owned(),
            values => format!("{} {}", number(median(values)), self.unit),
        };
        let reached = match (self.target, self.is_reached()) {
            (Target::None, _) => "–",
            (_, true) => "yes",
            (_, false) => "NO",
        };
        [
            self.name.clone(),
            format!("{} {}", number(self.measured()), self.unit),
            baseline,
            self.ratio().map_or("–".to_owned(), |ratio| format!("{:.0}%", ratio * 100.0)),
            target,
            reached.to_owned(),
        ]
    }
}

/// The middle value; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (len, half) if len % 2 == 1 => sorted[half],
        (_, half) => (sorted[half - 1] + sorted[half]) / 2.0,
    }
}

/// Three digits that count, thousands apart.
fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.3}").chars().take(5).collect::<String>();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// All figures as a Markdown table.
pub fn table(figures: &[Figure]) -> String {
    let mut text = "| figure | measured | baseline | ratio | target | reached |\n".to_owned();
    text.push_str("|---|---|---|---|---|---|\n");
    for figure in figures {
        text.push_str(&format!("| {} |\n", figure.cells().join(" | ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(measured: &[f64], baseline: &[f64], target: Target) -> Figure {
        let (measured, baseline) = (measured.to_vec(), baseline.to_vec());
        Figure { name: "x".into(), unit: "/s", measured, baseline, target }
    }

    #[test]
    fn the_ratio_is_of_rounds_that_were_measured_together() {
        // The machine was slow in the second round, for both.
        let rounds = figure(&[80.0, 8.0, 82.0], &[100.0, 10.0, 100.0], Target::Ratio(0.8));
        assert_eq!(rounds.ratio(), Some(0.8));
        assert!(rounds.is_reached());
        assert!(!figure(&[79.0], &[100.0], Target::Ratio(0.8)).is_reached());
        assert!(!figure(&[79.0], &[], Target::Ratio(0.8)).is_reached());
    }

    #[test]
    fn what_is_not_reached_says_so_loudly() {
        let slow = figure(&[1_234.6], &[], Target::AtLeast(25_000.0));
        let row = "| x | 1,235 /s | – | – | ≥ 25,000 /s | NO |";
        assert_eq!(table(&[slow]).lines().last(), Some(row));
        assert!(figure(&[0.5], &[], Target::AtMost(1.0)).is_reached());
        assert!(!figure(&[1.5], &[], Target::AtMost(1.0)).is_reached());
    }
}

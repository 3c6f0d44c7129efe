//! A line of a result over time, small enough for a table.

use maud::{Markup, html};

use super::super::view::Series;

const WIDTH: f64 = 132.0;
const HEIGHT: f64 = 34.0;
/// Room for the last dot, on all sides.
const MARGIN: f64 = 4.0;
/// Readings that a line has at most: the newest.
const POINTS_MAX: usize = 60;

/// The line, with the reference range as a band; nothing when there are fewer than
/// two numbers of one unit.
pub(super) fn spark(series: &Series) -> Markup {
    let Some(plot) = Plot::of(series) else { return html! {} };
    let label = format!("{}, {} values over time", series.name, plot.lines[0].len());
    html! {
        svg.spark viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width=(WIDTH) height=(HEIGHT)
            role="img" aria-label=(label) {
            @if let Some((top, bottom)) = plot.band {
                rect.spark-band x="0" y=(fixed(top)) width=(WIDTH) height=(fixed(bottom - top)) {}
            }
            @for line in &plot.lines {
                polyline.spark-line points=(points(line)) fill="none" {}
                @if let Some((x, y)) = line.last() {
                    circle.spark-dot cx=(fixed(*x)) cy=(fixed(*y)) r="2.6" {}
                }
            }
        }
    }
}

/// Places on the page, oldest first, and the band of the reference range.
struct Plot {
    lines: Vec<Vec<(f64, f64)>>,
    band: Option<(f64, f64)>,
}

impl Plot {
    fn of(series: &Series) -> Option<Self> {
        let newest = series.readings.first()?;
        let fits = |count: usize| {
            series.readings.iter().filter(move |reading| {
                reading.unit == newest.unit && reading.numbers.len() == count && count > 0
            })
        };
        let count = newest.numbers.len();
        let mut dated: Vec<(f64, &[f64])> = fits(count)
            .filter_map(|r| Some((r.at.as_ref()?.at().millis() as f64, r.numbers.as_slice())))
            .take(POINTS_MAX)
            .collect();
        dated.reverse();
        let (first, last) = (dated.first()?.0, dated.last()?.0);
        if dated.len() < 2 || last <= first {
            return None;
        }
        let values = dated.iter().flat_map(|(_, numbers)| numbers.iter().copied());
        let bounds = newest.bounds;
        let all = values.chain(bounds.0).chain(bounds.1).filter(|value| value.is_finite());
        let (low, high) =
            all.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        let span = if high > low { high - low } else { 1.0 };
        let y = |value: f64| MARGIN + (HEIGHT - 2.0 * MARGIN) * (high - value) / span;
        let x = |at: f64| MARGIN + (WIDTH - 2.0 * MARGIN) * (at - first) / (last - first);
        let line =
            |part: usize| dated.iter().map(|(at, numbers)| (x(*at), y(numbers[part]))).collect();
        let band = match bounds {
            (None, None) => None,
            (low, high) => Some((high.map_or(0.0, y), low.map_or(HEIGHT, y))),
        };
        Some(Self { lines: (0..count).map(line).collect(), band })
    }
}

fn points(line: &[(f64, f64)]) -> String {
    let points: Vec<String> =
        line.iter().map(|(x, y)| format!("{},{}", fixed(*x), fixed(*y))).collect();
    points.join(" ")
}

fn fixed(number: f64) -> String {
    format!("{number:.1}")
}

#[cfg(test)]
mod tests {
    use super::super::super::view::{Moment, Reading};
    use super::*;

    fn series(readings: &[(&str, &[f64], &str)]) -> Series {
        let reading = |(at, numbers, unit): &(&str, &[f64], &str)| Reading {
            value: String::new(),
            unit: (*unit).to_owned(),
            flag: None,
            range: String::new(),
            bounds: (Some(0.0), Some(10.0)),
            numbers: numbers.to_vec(),
            at: Moment::parse(at),
            status: "",
            notes: Vec::new(),
            sources: vec![0],
        };
        Series { name: "Test".into(), readings: readings.iter().map(reading).collect() }
    }

    #[test]
    fn the_line_runs_from_the_oldest_to_the_newest_within_the_frame() {
        let plot = Plot::of(&series(&[
            ("2024-03-01", &[10.0], "u"),
            ("2024-02-01", &[0.0], "u"),
            ("2024-01-01", &[5.0], "u"),
        ]))
        .expect("a plot");
        let line = &plot.lines[0];
        assert_eq!((line[0], line[2]), ((MARGIN, HEIGHT / 2.0), (WIDTH - MARGIN, MARGIN)));
        assert_eq!(plot.band, Some((MARGIN, HEIGHT - MARGIN)));
    }

    #[test]
    fn values_of_another_unit_or_without_a_date_are_not_drawn() {
        assert!(
            Plot::of(&series(&[("2024-03-01", &[1.0], "u"), ("2024-01-01", &[1.0], "w")]))
                .is_none()
        );
        assert!(
            Plot::of(&series(&[("2024-03-01", &[1.0], "u"), ("never", &[1.0], "u")])).is_none()
        );
        assert!(Plot::of(&series(&[])).is_none());
    }

    #[test]
    fn a_blood_pressure_is_two_lines() {
        let plot = Plot::of(&series(&[
            ("2024-03-01", &[9.0, 5.0], "u"),
            ("2024-01-01", &[8.0, 4.0], "u"),
        ]));
        assert_eq!(plot.map(|plot| plot.lines.len()), Some(2));
    }
}

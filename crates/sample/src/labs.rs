//! Laboratory panels: LOINC, UCUM, reference ranges, and results that hang
//! together (an anion gap is what its three electrolytes say; a person with
//! diabetes has a high glucose and a high A1c).

use crate::dice::Dice;
use crate::person::{Person, Sex};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Analyte {
    pub(crate) loinc: &'static str,
    pub(crate) name: &'static str,
    /// UCUM.
    pub(crate) unit: &'static str,
    pub(crate) decimals: usize,
    /// Reference range; a missing bound is open.
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
    /// Values at or beyond which the laboratory telephones.
    pub(crate) panic: (f64, f64),
}

/// One measured value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured {
    pub(crate) analyte: Analyte,
    /// Rounded as reported.
    pub(crate) value: f64,
}

impl Measured {
    /// The value as reported.
    pub(crate) fn text(&self) -> String {
        format!("{:.*}", self.analyte.decimals, self.value)
    }

    /// OBX-7.
    pub(crate) fn range(&self) -> String {
        let at = self.analyte.decimals;
        match (self.analyte.low, self.analyte.high) {
            (Some(low), Some(high)) => format!("{low:.at$}-{high:.at$}"),
            (Some(low), None) => format!(">={low:.at$}"),
            (None, Some(high)) => format!("<={high:.at$}"),
            (None, None) => String::new(),
        }
    }

    /// HL7 table 0078; `N` inside the range.
    pub(crate) fn flag(&self) -> &'static str {
        let below = self.analyte.low.is_some_and(|low| self.value < low);
        let above = self.analyte.high.is_some_and(|high| self.value > high);
        match (below, above) {
            (true, _) if self.value <= self.analyte.panic.0 => "LL",
            (true, _) => "L",
            (_, true) if self.value >= self.analyte.panic.1 => "HH",
            (_, true) => "H",
            _ => "N",
        }
    }
}

/// A panel that can be ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Panel {
    Comprehensive,
    Basic,
    Lipid,
    HemoglobinA1c,
    BloodCount,
    Thyroid,
    ProthrombinTime,
}

impl Panel {
    #[cfg(test)]
    pub(crate) const ALL: [Panel; 7] = [
        Self::Comprehensive,
        Self::Basic,
        Self::Lipid,
        Self::HemoglobinA1c,
        Self::BloodCount,
        Self::Thyroid,
        Self::ProthrombinTime,
    ];

    /// LOINC code and name, local code and name, HL7 table 0074 section.
    #[rustfmt::skip]
    pub(crate) fn code(self) -> [&'static str; 5] {
        match self {
            Self::Comprehensive => ["24323-8", "Comprehensive metabolic 2000 panel - Serum or Plasma", "CMP", "Comp Metabolic Panel", "CH"],
            Self::Basic => ["24321-2", "Basic metabolic 2000 panel - Serum or Plasma", "BMP", "Basic Metabolic Panel", "CH"],
            Self::Lipid => ["24331-1", "Lipid 1996 panel - Serum or Plasma", "LIPID", "Lipid Panel", "CH"],
            Self::HemoglobinA1c => ["55454-3", "Hemoglobin A1c in Blood", "A1C", "Hemoglobin A1c with eAG", "CH"],
            Self::BloodCount => ["57021-8", "CBC W Auto Differential panel - Blood", "CBCD", "CBC with Differential", "HM"],
            Self::Thyroid => ["24348-5", "Thyroxine free (T4 free) and TSH panel - Serum or Plasma", "THYR", "TSH and Free T4", "CH"],
            Self::ProthrombinTime => ["34528-0", "PT panel - Platelet poor plasma by Coagulation assay", "PT", "Prothrombin Time with INR", "HM"],
        }
    }

    /// Specimen: HL7 table 0487 code and text.
    pub(crate) fn specimen(self) -> (&'static str, &'static str) {
        match self {
            Self::HemoglobinA1c | Self::BloodCount => ("BLDV", "Blood venous"),
            Self::ProthrombinTime => ("PLAS", "Plasma"),
            _ => ("SER", "Serum"),
        }
    }

    /// Results of this panel for `person` at the given age.
    pub(crate) fn measure(self, person: &Person, age: i64, dice: &mut Dice) -> Vec<Measured> {
        let mut sheet = Sheet { person, age, rows: Vec::new() };
        match self {
            Self::Comprehensive => chemistry(&mut sheet, dice, true),
            Self::Basic => chemistry(&mut sheet, dice, false),
            Self::Lipid => lipids(&mut sheet, dice),
            Self::HemoglobinA1c => hemoglobin_a1c(&mut sheet, dice),
            Self::BloodCount => blood_count(&mut sheet, dice),
            Self::Thyroid => thyroid(&mut sheet, dice),
            Self::ProthrombinTime => prothrombin(&mut sheet, dice),
        }
        sheet.rows
    }
}

struct Sheet<'a> {
    person: &'a Person,
    age: i64,
    rows: Vec<Measured>,
}

const NEVER: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

impl Sheet<'_> {
    /// Adds a value, rounded as reported, and gives the rounded value back.
    #[allow(clippy::too_many_arguments)]
    fn add(
        &mut self,
        loinc: &'static str,
        name: &'static str,
        unit: &'static str,
        decimals: usize,
        low: impl Into<Option<f64>>,
        high: impl Into<Option<f64>>,
        panic: (f64, f64),
        value: f64,
    ) -> f64 {
        let scale = 10_f64.powi(decimals as i32);
        let value = (value * scale).round() / scale;
        let (low, high) = (low.into(), high.into());
        let analyte = Analyte { loinc, name, unit, decimals, low, high, panic };
        self.rows.push(Measured { analyte, value });
        value
    }

    fn has(&self, icd10: &str) -> bool {
        self.person.has(icd10)
    }

    fn by_sex(&self, female: f64, male: f64) -> f64 {
        if self.person.sex == Sex::Female { female } else { male }
    }
}

#[rustfmt::skip]
fn chemistry(sheet: &mut Sheet<'_>, dice: &mut Dice, comprehensive: bool) {
    let diabetes = sheet.has("E11.9");
    let kidneys = sheet.has("N18.30");
    let heart = sheet.has("I50.9");
    let glucose = if diabetes { dice.bell(162.0, 38.0) } else { dice.bell(90.0, 9.0) };
    sheet.add("2345-7", "Glucose [Mass/volume] in Serum or Plasma", "mg/dL", 0, 70.0, 99.0, (50.0, 400.0), glucose);
    let urea = if kidneys || heart { dice.bell(30.0, 6.0) } else { dice.bell(14.0, 3.5) };
    let urea = sheet.add("3094-0", "Urea nitrogen [Mass/volume] in Serum or Plasma", "mg/dL", 0, 7.0, 20.0, (0.0, 100.0), urea);
    let normal = if sheet.age < 15 { 0.5 } else { sheet.by_sex(0.78, 0.97) };
    let creatinine = if kidneys { dice.bell(1.65, 0.18) } else { dice.bell(normal, 0.1) };
    let (low, high) = if sheet.age < 15 { (0.30, 0.70) } else { (sheet.by_sex(0.50, 0.70), sheet.by_sex(1.10, 1.30)) };
    let creatinine = sheet.add("2160-0", "Creatinine [Mass/volume] in Serum or Plasma", "mg/dL", 2, low, high, (0.0, 7.4), creatinine);
    if sheet.age >= 18 {
        let rate = filtration_rate(creatinine, sheet.age, sheet.person.sex);
        sheet.add("98979-8", "Glomerular filtration rate/1.73 sq M.predicted [Volume Rate/Area] in Serum, Plasma or Blood by Creatinine-based formula (CKD-EPI 2021)", "mL/min/{1.73_m2}", 0, 60.0, None, NEVER, rate);
    }
    sheet.add("3097-3", "Urea nitrogen/Creatinine [Mass Ratio] in Serum or Plasma", "{ratio}", 0, 6.0, 28.0, NEVER, urea / creatinine);
    let sodium = sheet.add("2951-2", "Sodium [Moles/volume] in Serum or Plasma", "mmol/L", 0, 135.0, 145.0, (120.0, 160.0), dice.bell(if heart { 135.0 } else { 139.5 }, 2.0));
    sheet.add("2823-3", "Potassium [Moles/volume] in Serum or Plasma", "mmol/L", 1, 3.5, 5.1, (2.5, 6.5), dice.bell(if kidneys { 4.7 } else { 4.2 }, 0.3));
    let chloride = sheet.add("2075-0", "Chloride [Moles/volume] in Serum or Plasma", "mmol/L", 0, 98.0, 107.0, (80.0, 120.0), sodium - 36.5 + dice.bell(0.0, 1.5));
    let carbonate = sheet.add("2028-9", "Carbon dioxide, total [Moles/volume] in Serum or Plasma", "mmol/L", 0, 20.0, 29.0, (10.0, 40.0), dice.bell(if kidneys { 22.5 } else { 25.0 }, 1.6));
    sheet.add("33037-3", "Anion gap in Serum or Plasma", "mmol/L", 0, 4.0, 16.0, NEVER, sodium - chloride - carbonate);
    sheet.add("17861-6", "Calcium [Mass/volume] in Serum or Plasma", "mg/dL", 1, 8.6, 10.2, (6.5, 13.0), dice.bell(9.4, 0.35));
    if !comprehensive {
        return;
    }
    let protein = sheet.add("2885-2", "Protein [Mass/volume] in Serum or Plasma", "g/dL", 1, 6.0, 8.3, NEVER, dice.bell(7.1, 0.35));
    let albumin = sheet.add("1751-7", "Albumin [Mass/volume] in Serum or Plasma", "g/dL", 1, 3.5, 5.0, NEVER, dice.bell(if heart { 3.6 } else { 4.3 }, 0.25));
    let globulin = sheet.add("10834-0", "Globulin [Mass/volume] in Serum by calculation", "g/dL", 1, 1.9, 3.7, NEVER, protein - albumin);
    sheet.add("1759-0", "Albumin/Globulin [Mass Ratio] in Serum or Plasma", "{ratio}", 1, 1.0, 2.5, NEVER, albumin / globulin);
    sheet.add("1975-2", "Bilirubin.total [Mass/volume] in Serum or Plasma", "mg/dL", 1, 0.2, 1.2, (0.0, 12.0), dice.bell(0.6, 0.2));
    let phosphatase = if sheet.age < 15 { (dice.bell(230.0, 40.0), 140.0, 420.0) } else { (dice.bell(75.0, 16.0), 40.0, 129.0) };
    sheet.add("6768-6", "Alkaline phosphatase [Enzymatic activity/volume] in Serum or Plasma", "U/L", 0, phosphatase.1, phosphatase.2, NEVER, phosphatase.0);
    let fatty = if sheet.has("E66.9") { 14.0 } else { 0.0 };
    sheet.add("1920-8", "Aspartate aminotransferase [Enzymatic activity/volume] in Serum or Plasma", "U/L", 0, 10.0, 40.0, (0.0, 1000.0), dice.bell(22.0 + fatty, 5.0));
    sheet.add("1742-6", "Alanine aminotransferase [Enzymatic activity/volume] in Serum or Plasma", "U/L", 0, 7.0, 56.0, (0.0, 1000.0), dice.bell(24.0 + fatty * 2.0, 6.0));
}

/// CKD-EPI 2021 creatinine equation, without race.
fn filtration_rate(creatinine: f64, age: i64, sex: Sex) -> f64 {
    let (kappa, alpha, factor) =
        if sex == Sex::Female { (0.7, -0.241, 1.012) } else { (0.9, -0.302, 1.0) };
    let ratio = creatinine / kappa;
    let rate = 142.0 * ratio.min(1.0).powf(alpha) * ratio.max(1.0).powf(-1.2);
    rate * 0.9938_f64.powi(age as i32) * factor
}

#[rustfmt::skip]
fn lipids(sheet: &mut Sheet<'_>, dice: &mut Dice) {
    let high = sheet.has("E78.5");
    let bad = if high { dice.bell(142.0, 18.0) } else { dice.bell(92.0, 11.0) };
    let fats = if high { dice.bell(205.0, 35.0) } else { dice.bell(105.0, 22.0) };
    let good = dice.bell(if high { sheet.by_sex(47.0, 39.0) } else { sheet.by_sex(58.0, 49.0) }, 5.0);
    let good = good.round();
    let fats = fats.round();
    let total = (bad + good + fats / 5.0).round();
    sheet.add("2093-3", "Cholesterol [Mass/volume] in Serum or Plasma", "mg/dL", 0, None, 199.0, NEVER, total);
    sheet.add("2571-8", "Triglyceride [Mass/volume] in Serum or Plasma", "mg/dL", 0, None, 149.0, (0.0, 1000.0), fats);
    sheet.add("2085-9", "Cholesterol in HDL [Mass/volume] in Serum or Plasma", "mg/dL", 0, sheet.by_sex(50.0, 40.0), None, NEVER, good);
    sheet.add("13457-7", "Cholesterol in LDL [Mass/volume] in Serum or Plasma by calculation", "mg/dL", 0, None, 99.0, NEVER, total - good - fats / 5.0);
    sheet.add("43396-1", "Cholesterol non HDL [Mass/volume] in Serum or Plasma", "mg/dL", 0, None, 129.0, NEVER, total - good);
    sheet.add("9830-1", "Cholesterol.total/Cholesterol in HDL [Mass Ratio] in Serum or Plasma", "{ratio}", 1, None, 5.0, NEVER, total / good);
}

#[rustfmt::skip]
fn hemoglobin_a1c(sheet: &mut Sheet<'_>, dice: &mut Dice) {
    let share = if sheet.has("E11.9") { dice.bell(7.9, 0.7) } else { dice.bell(5.3, 0.15) };
    let share = sheet.add("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", "%", 1, 4.0, 5.6, NEVER, share);
    sheet.add("27353-2", "Glucose mean value [Mass/volume] in Blood Estimated from glycated hemoglobin", "mg/dL", 0, None, None, NEVER, 28.7 * share - 46.7);
}

#[rustfmt::skip]
fn blood_count(sheet: &mut Sheet<'_>, dice: &mut Dice) {
    let anemia = sheet.has("D50.9");
    let white = sheet.add("6690-2", "Leukocytes [#/volume] in Blood by Automated count", "10*3/uL", 1, 4.0, 11.0, (1.5, 40.0), dice.bell(7.0, 1.2));
    let hemoglobin = if anemia { dice.bell(10.1, 0.7) } else { dice.bell(sheet.by_sex(13.6, 15.0), 0.6) };
    let volume = if anemia { dice.bell(74.0, 2.5) } else { dice.bell(90.0, 2.5) };
    let concentration = if anemia { dice.bell(31.4, 0.4) } else { dice.bell(33.6, 0.5) };
    let hemoglobin = (hemoglobin * 10.0).round() / 10.0;
    let hematocrit = (hemoglobin / concentration * 1000.0).round() / 10.0;
    let red = (hematocrit * 10.0 / volume * 100.0).round() / 100.0;
    sheet.add("789-8", "Erythrocytes [#/volume] in Blood by Automated count", "10*6/uL", 2, sheet.by_sex(3.90, 4.30), sheet.by_sex(5.20, 5.70), NEVER, red);
    sheet.add("718-7", "Hemoglobin [Mass/volume] in Blood", "g/dL", 1, sheet.by_sex(12.0, 13.5), sheet.by_sex(15.5, 17.5), (7.0, 20.0), hemoglobin);
    sheet.add("4544-3", "Hematocrit [Volume Fraction] of Blood by Automated count", "%", 1, sheet.by_sex(36.0, 40.0), sheet.by_sex(46.5, 51.0), (21.0, 60.0), hematocrit);
    sheet.add("787-2", "MCV [Entitic volume] by Automated count", "fL", 1, 80.0, 100.0, NEVER, hematocrit * 10.0 / red);
    sheet.add("785-6", "MCH [Entitic mass] by Automated count", "pg", 1, 27.0, 33.0, NEVER, hemoglobin * 10.0 / red);
    sheet.add("786-4", "MCHC [Mass/volume] by Automated count", "g/dL", 1, 31.5, 36.0, NEVER, hemoglobin * 100.0 / hematocrit);
    sheet.add("788-0", "Erythrocyte distribution width [Ratio] by Automated count", "%", 1, 11.5, 14.5, NEVER, dice.bell(if anemia { 16.8 } else { 13.0 }, 0.5));
    sheet.add("777-3", "Platelets [#/volume] in Blood by Automated count", "10*3/uL", 0, 150.0, 400.0, (30.0, 1000.0), dice.bell(if anemia { 340.0 } else { 248.0 }, 45.0));
    let lymphocytes = dice.bell(29.0, 4.0).round();
    let monocytes = dice.bell(7.0, 1.2).round();
    let eosinophils = dice.bell(if sheet.has("J30.9") { 5.0 } else { 2.4 }, 0.8).round();
    let basophils = dice.bell(0.8, 0.3).round();
    let neutrophils = 100.0 - lymphocytes - monocytes - eosinophils - basophils;
    sheet.add("770-8", "Neutrophils/100 leukocytes in Blood by Automated count", "%", 0, 40.0, 74.0, NEVER, neutrophils);
    sheet.add("736-9", "Lymphocytes/100 leukocytes in Blood by Automated count", "%", 0, 19.0, 48.0, NEVER, lymphocytes);
    sheet.add("5905-5", "Monocytes/100 leukocytes in Blood by Automated count", "%", 0, 4.0, 12.0, NEVER, monocytes);
    sheet.add("713-8", "Eosinophils/100 leukocytes in Blood by Automated count", "%", 0, 0.0, 6.0, NEVER, eosinophils);
    sheet.add("706-2", "Basophils/100 leukocytes in Blood by Automated count", "%", 0, 0.0, 2.0, NEVER, basophils);
    sheet.add("751-8", "Neutrophils [#/volume] in Blood by Automated count", "10*3/uL", 1, 1.8, 7.7, (0.5, 40.0), white * neutrophils / 100.0);
    sheet.add("731-0", "Lymphocytes [#/volume] in Blood by Automated count", "10*3/uL", 1, 1.0, 4.8, NEVER, white * lymphocytes / 100.0);
}

#[rustfmt::skip]
fn thyroid(sheet: &mut Sheet<'_>, dice: &mut Dice) {
    let low = sheet.has("E03.9");
    sheet.add("3016-3", "Thyrotropin [Units/volume] in Serum or Plasma", "m[IU]/L", 2, 0.45, 4.50, (0.01, 50.0), if low { dice.bell(6.2, 1.9) } else { dice.bell(2.1, 0.7) });
    sheet.add("3024-7", "Thyroxine (T4) free [Mass/volume] in Serum or Plasma", "ng/dL", 2, 0.80, 1.80, NEVER, if low { dice.bell(0.9, 0.1) } else { dice.bell(1.25, 0.15) });
}

#[rustfmt::skip]
fn prothrombin(sheet: &mut Sheet<'_>, dice: &mut Dice) {
    let ratio = if sheet.has("I48.91") { dice.bell(1.3, 0.1) } else { dice.bell(1.0, 0.05) };
    let ratio = (ratio * 10.0).round() / 10.0;
    sheet.add("5902-2", "Prothrombin time (PT)", "s", 1, 9.4, 12.5, (0.0, 60.0), 11.2 * ratio);
    sheet.add("6301-6", "INR in Platelet poor plasma by Coagulation assay", "{INR}", 1, 0.9, 1.1, (0.0, 5.0), ratio);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::loinc_is_valid;
    use crate::person::persons;
    use jiff::civil::date;

    fn sample() -> Vec<(Person, Panel, Vec<Measured>)> {
        let start = date(2025, 1, 6);
        let mut dice = Dice::new(5, 5);
        persons(120, 3, start)
            .into_iter()
            .flat_map(|person| {
                let age = person.age_on(start);
                Panel::ALL.map(|panel| {
                    let rows = panel.measure(&person, age, &mut dice);
                    (person.clone(), panel, rows)
                })
            })
            .collect()
    }

    #[test]
    fn every_panel_has_all_its_analytes_under_valid_loinc_codes() {
        for (person, panel, rows) in sample() {
            let adult = person.age_on(date(2025, 1, 6)) >= 18;
            let expected = match panel {
                Panel::Comprehensive => {
                    if adult {
                        19
                    } else {
                        18
                    }
                }
                Panel::Basic => {
                    if adult {
                        11
                    } else {
                        10
                    }
                }
                Panel::Lipid => 6,
                Panel::BloodCount => 16,
                _ => 2,
            };
            assert_eq!(rows.len(), expected, "{panel:?}");
            assert!(loinc_is_valid(panel.code()[0]), "{panel:?}");
            for row in rows {
                assert!(loinc_is_valid(row.analyte.loinc), "{}", row.analyte.loinc);
            }
        }
    }

    #[test]
    fn no_value_is_impossible_and_flags_follow_the_range() {
        for (_, panel, rows) in sample() {
            for row in rows {
                let (low, high) = (row.analyte.low, row.analyte.high);
                let reach = high.or(low).unwrap_or(300.0);
                assert!(row.value >= 0.0 && row.value < reach * 5.0, "{panel:?} {row:?}");
                let inside =
                    low.is_none_or(|l| row.value >= l) && high.is_none_or(|h| row.value <= h);
                assert_eq!(row.flag() == "N", inside, "{row:?}");
            }
        }
    }

    #[test]
    fn calculated_values_agree_with_what_they_are_calculated_from() {
        for (_, panel, rows) in sample() {
            let value = |loinc: &str| {
                rows.iter().find(|row| row.analyte.loinc == loinc).map(|row| row.value)
            };
            if panel == Panel::Comprehensive {
                let parts = ["2951-2", "2075-0", "2028-9"].map(|code| value(code).unwrap_or(0.0));
                assert_eq!(value("33037-3"), Some(parts[0] - parts[1] - parts[2]));
            }
            if panel == Panel::BloodCount {
                let shares = ["770-8", "736-9", "5905-5", "713-8", "706-2"];
                let sum: f64 = shares.iter().filter_map(|code| value(code)).sum();
                assert_eq!(sum, 100.0);
            }
        }
    }

    #[test]
    fn diabetes_shows_in_the_a1c() {
        for (person, panel, rows) in sample() {
            if panel == Panel::HemoglobinA1c {
                assert_eq!(person.has("E11.9"), rows[0].value > 5.6, "{}", rows[0].value);
            }
        }
    }
}

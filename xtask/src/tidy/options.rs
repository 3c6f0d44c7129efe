//! Every command, argument and value of the command line says what it is: clap
//! shows the doc comment as help.

use super::Complaints;
use super::source::Source;

/// Derives whose fields or variants a user sees.
const DERIVES: &[&str] = &["Parser", "Args", "Subcommand", "ValueEnum"];

/// Every field and variant of a clap type without a doc comment.
pub fn check(sources: &[Source]) -> Complaints {
    sources.iter().filter(|source| !source.is_test_file()).flat_map(check_source).collect()
}

fn check_source(source: &Source) -> Complaints {
    let mut complaints = Vec::new();
    let lines: Vec<(&str, &str)> = source.text.lines().zip(source.code.lines()).collect();
    let mut at = 0;
    while at < lines.len() {
        if is_clap_derive(lines[at].1) {
            at = check_item(source, &lines, at + 1, &mut complaints);
        } else {
            at += 1;
        }
    }
    complaints
}

fn is_clap_derive(code: &str) -> bool {
    let Some((_, list)) = code.split_once("#[derive(") else { return false };
    let list = list.split(')').next().unwrap_or_default();
    list.split(',').any(|name| {
        let name = name.trim().rsplit("::").next().unwrap_or_default();
        DERIVES.contains(&name)
    })
}

/// Checks the item whose derive stands before line `from`; gives the line after it.
fn check_item(
    source: &Source,
    lines: &[(&str, &str)],
    from: usize,
    complaints: &mut Complaints,
) -> usize {
    let (mut braces, mut brackets, mut documented) = (0_i32, 0_i32, false);
    for (at, (text, code)) in lines.iter().enumerate().skip(from) {
        let line = text.trim();
        let inside = braces > 0;
        let in_attribute = brackets > 0 || line.starts_with("#[");
        if in_attribute {
            brackets += balance(code, '[', ']');
        }
        if line.starts_with("///") {
            documented = true;
        } else if !in_attribute && !line.is_empty() && !line.starts_with("//") {
            if inside
                && let Some(name) = member(code)
                && !documented
            {
                complaints.push(format!(
                    "{}:{}: `{name}` has no doc comment, so the command line does not explain it",
                    source.path,
                    at + 1
                ));
            }
            documented = false;
        }
        braces += balance(code, '{', '}');
        let ended = braces == 0 && (inside || code.trim_end().ends_with(';'));
        if ended {
            return at + 1;
        }
    }
    lines.len()
}

fn balance(code: &str, open: char, close: char) -> i32 {
    code.chars().map(|c| i32::from(c == open) - i32::from(c == close)).sum()
}

/// The name of the field or variant that a line begins.
fn member(code: &str) -> Option<&str> {
    let code = code.trim().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
    let end = code.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(code.len());
    let (name, rest) = code.split_at(end);
    let rest = rest.trim_start();
    let begins = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let goes_on = rest.is_empty()
        || [",", "(", "{"].iter().any(|sign| rest.starts_with(sign))
        || rest.starts_with(':') && !rest.starts_with("::");
    (begins && goes_on).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undocumented(text: &str) -> Vec<String> {
        let complaints = check(&[Source::new("crates/x/src/cli.rs", text)]);
        let name = |told: String| told.split('`').nth(1).map(str::to_owned);
        complaints.into_iter().filter_map(name).collect()
    }

    const ENUM: &str = "
/// Commands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Loads.
    Load {
        /// Files.
        #[arg(
            long,
            required = true,
        )]
        paths: Vec<PathBuf>,
    },
    /// Ends.
    Stop(StopArguments),
}
pub struct Other {
    undocumented: u8,
}
";

    #[test]
    fn documented_options_pass_and_other_types_are_not_looked_at() {
        assert_eq!(undocumented(ENUM), Vec::<String>::new());
    }

    #[test]
    fn an_undocumented_option_is_found_at_every_depth() {
        assert_eq!(undocumented(&ENUM.replace("/// Files.", "")), ["paths"]);
        assert_eq!(undocumented(&ENUM.replace("/// Ends.", "")), ["Stop"]);
        assert_eq!(undocumented(&ENUM.replace("/// Loads.", "// Loads.")), ["Load"]);
        assert_eq!(
            undocumented("#[derive(Args)]\nstruct A {\n    pub dir: PathBuf,\n}\n"),
            ["dir"]
        );
        let unit =
            "#[derive(ValueEnum, Clone)]\nenum F {\n    /// Table.\n    Text,\n    Csv,\n}\n";
        assert_eq!(undocumented(unit), ["Csv"]);
    }
}

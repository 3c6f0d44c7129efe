//! Existence, filtering, subsets, combining, `iif`, `aggregate`, `sort` (N1,
//! sections 5.1 to 5.5 and 7).

use std::cmp::Ordering;
use std::collections::HashSet;

use super::EvaluateError;
use super::evaluate::{Evaluator, Items, Outcome, Scope};
use super::expr::{Expr, Function};
use super::item::Item;
use super::operators::{equal, order};

/// Recognises doubles: texts, whole numbers and Booleans at once, others one by one.
#[derive(Default)]
struct Seen<'a> {
    texts: HashSet<String>,
    numbers: HashSet<i64>,
    booleans: HashSet<bool>,
    others: Items<'a>,
}

impl<'a> Seen<'a> {
    /// Whether `item` is new; then it is kept.
    fn insert(&mut self, item: &Item<'a>, evaluator: &Evaluator<'a, '_>) -> Outcome<bool> {
        match item.system() {
            Item::Text(text) if self.texts.contains(&*text) => Ok(false),
            Item::Text(text) => Ok(self.texts.insert(text.into_owned())),
            Item::Integer(number) if self.others.is_empty() => Ok(self.numbers.insert(number)),
            Item::Boolean(value) => Ok(self.booleans.insert(value)),
            value => {
                evaluator.charge(self.others.len() + self.numbers.len())?;
                let is_number = |number: &i64| equal(&Item::Integer(*number), &value) == Some(true);
                let known = self.others.iter().any(|other| equal(other, &value) == Some(true))
                    || self.numbers.iter().any(is_number);
                if !known {
                    self.others.push(value);
                }
                Ok(!known)
            }
        }
    }
}

impl<'a> Evaluator<'a, '_> {
    /// Adds `items` to `out` without doubles.
    pub fn distinct(&self, items: Items<'a>, out: &mut Items<'a>) -> Outcome {
        let mut seen = Seen::default();
        for item in items {
            if seen.insert(&item, self)? {
                out.push(item);
            }
        }
        Ok(())
    }

    fn all_are(&self, input: &[Item<'a>], wanted: bool, operation: &'static str) -> Outcome<usize> {
        let mut count = 0;
        for item in input {
            match item.system() {
                Item::Boolean(value) => count += usize::from(value == wanted),
                _ => return Err(EvaluateError::WrongType { operation }),
            }
        }
        Ok(count)
    }

    fn is_subset(&self, small: &[Item<'a>], large: &[Item<'a>]) -> Outcome<bool> {
        for item in small {
            if !self.is_in(item, large)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn collection_function(
        &self,
        function: Function,
        input: &[Item<'a>],
        arguments: &'a [Expr],
        scope: Scope<'a, '_>,
        out: &mut Items<'a>,
    ) -> Outcome {
        use Function::*;
        let other = |place: usize| match arguments.get(place) {
            Some(argument) => self.collect(argument, scope),
            None => Ok(Vec::new()),
        };
        let each = || input.iter().enumerate();
        let flag = |value: bool| Item::Boolean(value);
        match function {
            Empty => out.push(flag(input.is_empty())),
            Exists => {
                let Some(test) = arguments.first() else {
                    out.push(flag(!input.is_empty()));
                    return Ok(());
                };
                for (index, item) in each() {
                    if self.holds(test, scope.item(item, index))? {
                        out.push(flag(true));
                        return Ok(());
                    }
                }
                out.push(flag(false));
            }
            All => {
                let Some(test) = arguments.first() else { return Ok(()) };
                for (index, item) in each() {
                    if !self.holds(test, scope.item(item, index))? {
                        out.push(flag(false));
                        return Ok(());
                    }
                }
                out.push(flag(true));
            }
            AllTrue => out.push(flag(self.all_are(input, true, "allTrue")? == input.len())),
            AllFalse => out.push(flag(self.all_are(input, false, "allFalse")? == input.len())),
            AnyTrue => out.push(flag(self.all_are(input, true, "anyTrue")? > 0)),
            AnyFalse => out.push(flag(self.all_are(input, false, "anyFalse")? > 0)),
            SubsetOf => out.push(flag(self.is_subset(input, &other(0)?)?)),
            SupersetOf => out.push(flag(self.is_subset(&other(0)?, input)?)),
            Count => out.push(Item::Integer(input.len() as i64)),
            Distinct => self.distinct(input.to_vec(), out)?,
            IsDistinct => {
                let mut found = Vec::new();
                self.distinct(input.to_vec(), &mut found)?;
                out.push(flag(found.len() == input.len()));
            }
            Where => {
                let Some(test) = arguments.first() else { return Ok(()) };
                for (index, item) in each() {
                    if self.holds(test, scope.item(item, index))? {
                        out.push(item.clone());
                    }
                }
            }
            Select => {
                let Some(projection) = arguments.first() else { return Ok(()) };
                for (index, item) in each() {
                    let before = out.len();
                    self.eval(projection, scope.item(item, index), out)?;
                    self.charge(out.len() - before)?;
                }
            }
            Repeat | RepeatAll => self.repeat(function, input, arguments, scope, out)?,
            Single => out.extend(self.single(input, "single")?.cloned()),
            First => out.extend(input.first().cloned()),
            Last => out.extend(input.last().cloned()),
            Tail => out.extend_from_slice(input.get(1..).unwrap_or_default()),
            Skip | Take => {
                let Some(count) = self.integer_of(arguments, 0, scope)? else { return Ok(()) };
                let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX).min(input.len());
                out.extend_from_slice(if function == Skip {
                    &input[count..]
                } else {
                    &input[..count]
                });
            }
            Intersect => {
                let (other, mut common) = (other(0)?, Vec::new());
                for item in input {
                    if self.is_in(item, &other)? {
                        common.push(item.clone());
                    }
                }
                self.distinct(common, out)?;
            }
            Exclude => {
                let other = other(0)?;
                for item in input {
                    if !self.is_in(item, &other)? {
                        out.push(item.clone());
                    }
                }
            }
            Union => {
                let mut all = input.to_vec();
                all.extend(other(0)?);
                self.distinct(all, out)?;
            }
            Combine => {
                out.extend_from_slice(input);
                let other = other(0)?;
                self.charge(other.len())?;
                out.extend(other);
            }
            Coalesce => {
                for argument in arguments {
                    let found = self.collect(argument, scope)?;
                    if !found.is_empty() {
                        out.extend(found);
                        break;
                    }
                }
            }
            Iif => {
                // Called on a collection, `$this` is its only item.
                let item =
                    if std::ptr::eq(input, scope.this) { None } else { self.single(input, "iif")? };
                let inner = item.map_or(scope, |item| scope.item(item, 0));
                let [test, chosen, rest @ ..] = arguments else { return Ok(()) };
                if self.holds(test, inner)? {
                    self.eval(chosen, inner, out)?;
                } else if let Some(otherwise) = rest.first() {
                    self.eval(otherwise, inner, out)?;
                }
            }
            Not => {
                out.extend(self.truth(input)?.map(|value| flag(!value)));
            }
            Aggregate => {
                let Some(step) = arguments.first() else { return Ok(()) };
                let mut total = other(1)?;
                for (index, item) in each() {
                    let inner = Scope { total: Some(&total), ..scope.item(item, index) };
                    total = self.collect(step, inner)?;
                    self.charge(total.len())?;
                }
                out.extend(total);
            }
            Sort => self.sort(input, arguments, scope, out)?,
            _ => {}
        }
        Ok(())
    }

    /// Projects again and again, until nothing new comes.
    fn repeat(
        &self,
        function: Function,
        input: &[Item<'a>],
        arguments: &'a [Expr],
        scope: Scope<'a, '_>,
        out: &mut Items<'a>,
    ) -> Outcome {
        let Some(projection) = arguments.first() else { return Ok(()) };
        let mut seen = Seen::default();
        let mut level = input.to_vec();
        while !level.is_empty() {
            let mut next = Vec::new();
            for (index, item) in level.iter().enumerate() {
                self.eval(projection, scope.item(item, index), &mut next)?;
            }
            level.clear();
            self.charge(next.len())?;
            for item in next {
                if function == Function::RepeatAll || seen.insert(&item, self)? {
                    level.push(item);
                }
            }
            out.extend_from_slice(&level);
        }
        Ok(())
    }

    /// By one or more keys; `-key` is from the largest. What has no key comes first.
    fn sort(
        &self,
        input: &[Item<'a>],
        arguments: &'a [Expr],
        scope: Scope<'a, '_>,
        out: &mut Items<'a>,
    ) -> Outcome {
        let this = [Expr::This];
        let mut rows: Vec<(Vec<Option<Item<'a>>>, &Item<'a>)> = Vec::new();
        for (index, item) in input.iter().enumerate() {
            let mut keys = Vec::new();
            for key in arguments {
                let key = if let Expr::Negate(inner) = key { inner } else { key };
                let found = self.collect(key, scope.item(item, index))?;
                keys.push(self.single(&found, "sort")?.cloned());
            }
            if arguments.is_empty() {
                keys.push(Some(item.clone()));
            }
            rows.push((keys, item));
        }
        let directions: &[Expr] = if arguments.is_empty() { &this } else { arguments };
        // All comparisons are tried once before, so that sorting itself cannot fail.
        self.charge(input.len().saturating_mul(8))?;
        let mut failure = Ok(());
        rows.sort_by(|(left, _), (right, _)| {
            for ((left, right), direction) in left.iter().zip(right).zip(directions) {
                let found = match (left, right) {
                    (None, None) => Ordering::Equal,
                    (None, Some(_)) => return Ordering::Less,
                    (Some(_), None) => return Ordering::Greater,
                    (Some(left), Some(right)) => match order(left, right, "sort") {
                        Ok(order) => order.unwrap_or(Ordering::Equal),
                        Err(error) => {
                            failure = Err(error);
                            Ordering::Equal
                        }
                    },
                };
                let found =
                    if matches!(direction, Expr::Negate(_)) { found.reverse() } else { found };
                if found.is_ne() {
                    return found;
                }
            }
            Ordering::Equal
        });
        failure?;
        out.extend(rows.into_iter().map(|(_, item)| item.clone()));
        Ok(())
    }
}

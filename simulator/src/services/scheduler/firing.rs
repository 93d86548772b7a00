//! When a schedule fires next, in its time zone.
//!
//! Source: user guide, "Schedule types": a rate without a start date starts at once; a `cron` time that a clock
//! change skips does not fire, and one that occurs twice fires once.

use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

use super::expression::{Field, HOURS, MINUTES, MONTH_DAYS, MONTHS_OF_YEAR, WEEK_DAYS, YEARS, inside};
use crate::clock::Clock;

/// How far ahead a `cron` time is searched: beyond that it never occurs (30 February).
const DAYS_AHEAD: u32 = 366 * 8;

/// The first time after `after` at which an expression fires, since the account was opened. `begins` is the
/// schedule's start date or, without one, its creation time.
pub(super) fn next(
    expression: &str,
    zone: &str,
    begins: Duration,
    after: Option<Duration>,
) -> Option<Duration> {
    if let Some(rate) = inside("rate", expression) {
        let every = period(rate)?;
        return Some(match after {
            None => begins,
            Some(after) => {
                let passed = after.saturating_sub(begins).as_nanos() / every.as_nanos();
                begins + every * (u32::try_from(passed).ok()? + 1)
            }
        });
    }
    let zone = TimeZone::get(zone).ok()?;
    let after = after.unwrap_or_else(|| begins.saturating_sub(Duration::from_millis(1)));
    let from = Timestamp::from_millisecond(millis(after)).ok()?;
    let at = match inside("at", expression) {
        Some(text) => moment(&zone, text.parse().ok()?).filter(|at| *at > from),
        None => cron(inside("cron", expression)?, &zone, from),
    };
    since_opened(at?)
}

fn period(rate: &str) -> Option<Duration> {
    let (value, unit) = rate.split_once(' ')?;
    let seconds = match unit.trim_end_matches('s') {
        "minute" => 60,
        "hour" => 3600,
        // 24 hours, even across a clock change.
        _ => 86_400,
    };
    Some(Duration::from_secs(value.parse::<u64>().ok()? * seconds))
}

#[expect(clippy::cast_possible_truncation, reason = "milliseconds since 1970 fit")]
fn millis(elapsed: Duration) -> i64 {
    (Clock::epoch_seconds(elapsed) * 1000.0) as i64
}

fn since_opened(at: Timestamp) -> Option<Duration> {
    let since = at.as_millisecond() - millis(Duration::ZERO);
    u64::try_from(since).ok().map(Duration::from_millis)
}

/// The moment at which clocks in the zone show this time; `None` if they never do.
fn moment(zone: &TimeZone, shown: DateTime) -> Option<Timestamp> {
    let moment = zone.to_ambiguous_timestamp(shown);
    match moment.offset() {
        AmbiguousOffset::Gap { .. } => None,
        _ => moment.earlier().ok(),
    }
}

fn cron(text: &str, zone: &TimeZone, from: Timestamp) -> Option<Timestamp> {
    let fields: Vec<&str> = text.split(' ').collect();
    let &[minutes, hours, month_day, month, week_day, year] = fields.as_slice() else { return None };
    let first = zone.to_datetime(from).date();
    (0..DAYS_AHEAD).filter_map(|days| first.checked_add(i64::from(days).days()).ok()).find_map(|date| {
        let on = YEARS.holds(year, number(date.year()))
            && MONTHS_OF_YEAR.holds(month, number(date.month()))
            && (month_day == "?" || on_month_day(month_day, date))
            && (week_day == "?" || on_week_day(week_day, date));
        let times = (0..24_i8).filter(|hour| on && HOURS.holds(hours, number(*hour)));
        let mut moments = times.flat_map(|hour| {
            let minutes = (0..60_i8).filter(|minute| MINUTES.holds(minutes, number(*minute)));
            minutes.filter_map(move |minute| moment(zone, date.at(hour, minute, 0, 0)))
        });
        moments.find(|at| *at > from)
    })
}

fn number(value: impl TryInto<u32>) -> u32 {
    value.try_into().unwrap_or_default()
}

fn on_month_day(field: &str, date: Date) -> bool {
    let last = date.last_of_month();
    match field {
        "L" => date == last,
        "LW" => date == nearest_weekday(last),
        _ => match field.strip_suffix('W') {
            Some(day) => day
                .parse()
                .ok()
                .and_then(|day: i8| Date::new(date.year(), date.month(), day).ok())
                .is_some_and(|wanted| date == nearest_weekday(wanted)),
            None => MONTH_DAYS.holds(field, number(date.day())),
        },
    }
}

/// The weekday nearest to a date, in the same month.
fn nearest_weekday(date: Date) -> Date {
    let moved = |days: i64| date.checked_add(days.days()).ok().filter(|moved| moved.month() == date.month());
    let nearest = match date.weekday().to_sunday_one_offset() {
        7 => moved(-1).or_else(|| moved(2)),
        1 => moved(1).or_else(|| moved(-2)),
        _ => Some(date),
    };
    nearest.unwrap_or(date)
}

fn on_week_day(field: &str, date: Date) -> bool {
    // Sunday is 1, Saturday 7.
    let today = number(date.weekday().to_sunday_one_offset());
    let is = |name: &str| WEEK_DAYS.value(name) == Some(today);
    if field == "L" {
        return today == 7;
    }
    if let Some((name, nth)) = field.split_once('#') {
        return is(name) && nth.parse() == Ok((date.day() - 1) / 7 + 1);
    }
    match field.strip_suffix('L') {
        Some(name) => is(name) && date.day() + 7 > date.last_of_month().day(),
        None => WEEK_DAYS.holds(field, today),
    }
}

impl Field {
    /// Whether a checked field includes this value.
    fn holds(&self, text: &str, value: u32) -> bool {
        text.split(',').any(|part| {
            let (span, step) =
                part.split_once('/').map_or((part, None), |(span, step)| (span, step.parse().ok()));
            let (from, to) = match span.split_once('-') {
                _ if span == "*" => (self.low, self.high),
                Some((from, to)) => {
                    (self.value(from).unwrap_or(self.low), self.value(to).unwrap_or(self.high))
                }
                None => {
                    let from = self.value(span).unwrap_or(self.low);
                    // `5/15`: every 15 from 5 on; `5`: 5 only.
                    (from, if step.is_some() { self.high } else { from })
                }
            };
            // `FRI-MON` wraps around.
            let within = if from <= to { (from..=to).contains(&value) } else { value >= from || value <= to };
            let distance = if value >= from { value - from } else { value + self.high + 1 - self.low - from };
            within && step.is_none_or(|step: u32| distance % step.max(1) == 0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When an expression fires after a moment, as text.
    fn after(expression: &str, zone: &str, moment: &str) -> String {
        let moment: Timestamp = moment.parse().unwrap();
        let next = next(expression, zone, Duration::ZERO, since_opened(moment)).unwrap();
        Timestamp::from_millisecond(millis(next)).unwrap().to_string()
    }

    #[test]
    fn a_cron_schedule_fires_by_the_clocks_of_its_zone() {
        for (expression, zone, from, then) in [
            ("cron(0 3 * * ? *)", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T03:00:00Z"),
            ("cron(0 3 * * ? *)", "UTC", "2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z"),
            ("cron(0 3 * * ? *)", "Europe/Berlin", "2026-01-01T00:00:00Z", "2026-01-01T02:00:00Z"),
            ("cron(0 3 * * ? *)", "Europe/Berlin", "2026-07-01T00:00:00Z", "2026-07-01T01:00:00Z"),
            ("cron(0 6 ? * MON-FRI *)", "UTC", "2026-01-02T07:00:00Z", "2026-01-05T06:00:00Z"),
            ("cron(15 10 L * ? *)", "UTC", "2026-02-01T00:00:00Z", "2026-02-28T10:15:00Z"),
            ("cron(15 10 ? * 6L *)", "UTC", "2026-01-01T00:00:00Z", "2026-01-30T10:15:00Z"),
            ("cron(15 10 ? * 3#2 *)", "UTC", "2026-01-01T00:00:00Z", "2026-01-13T10:15:00Z"),
            ("cron(0 9 1W * ? *)", "UTC", "2026-01-31T12:00:00Z", "2026-02-02T09:00:00Z"),
            ("cron(5/20 8 * * ? *)", "UTC", "2026-01-01T08:05:00Z", "2026-01-01T08:25:00Z"),
            ("at(2026-11-20T13:00:00)", "Europe/Berlin", "2026-01-01T00:00:00Z", "2026-11-20T12:00:00Z"),
        ] {
            assert_eq!(after(expression, zone, from), then, "{expression} in {zone} after {from}");
        }
    }

    #[test]
    fn a_skipped_local_time_does_not_fire_and_a_repeated_one_fires_once() {
        let half_past_two = "cron(30 2 * * ? *)";
        let berlin = "Europe/Berlin";
        assert_eq!(after(half_past_two, berlin, "2026-03-28T12:00:00Z"), "2026-03-30T00:30:00Z");
        assert_eq!(after(half_past_two, berlin, "2026-10-24T12:00:00Z"), "2026-10-25T00:30:00Z");
        assert_eq!(after(half_past_two, berlin, "2026-10-25T00:30:00Z"), "2026-10-26T01:30:00Z");
    }

    #[test]
    fn a_rate_schedule_fires_at_once_and_then_at_its_interval() {
        let made = Duration::from_secs(100);
        assert_eq!(next("rate(5 minutes)", "UTC", made, None), Some(made));
        assert_eq!(next("rate(5 minutes)", "UTC", made, Some(made)), Some(Duration::from_secs(400)));
        assert_eq!(next("rate(1 day)", "UTC", made, Some(made)), Some(Duration::from_secs(86_500)));
    }

    #[test]
    fn a_schedule_without_a_next_time_does_not_fire() {
        assert_eq!(next("cron(0 3 30 2 ? *)", "UTC", Duration::ZERO, None), None);
        assert_eq!(next("at(2020-01-01T00:00:00)", "UTC", Duration::ZERO, None), None);
    }
}

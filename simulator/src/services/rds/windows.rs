//! Backup and maintenance windows, in UTC.

use std::time::Duration;

use super::{contradiction, invalid};
use crate::clock::Clock;
use crate::params::Refusal;

/// The default windows of an instance.
pub(super) const BACKUP: &str = "02:00-02:30";
pub(super) const MAINTENANCE: &str = "sun:04:00-sun:04:30";

const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const DAY: u32 = 24 * 60;
const WEEK: u32 = 7 * DAY;
const SHORTEST: u32 = 30;

/// A span of minutes of the day, or of the week, which starts on Sunday.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    length: u32,
}

/// Checks both windows and that they do not overlap.
pub(super) fn check(backup: &str, maintenance: &str) -> Result<(), Refusal> {
    let malformed = |what: &str, window: &str| {
        invalid(format!("The parameter {what} must be provided and must be valid: {window}"))
    };
    let daily = daily(backup).ok_or_else(|| malformed("PreferredBackupWindow", backup))?;
    let weekly = weekly(maintenance).ok_or_else(|| malformed("PreferredMaintenanceWindow", maintenance))?;
    if daily.length < SHORTEST || weekly.length < SHORTEST || weekly.length > DAY {
        return Err(invalid(
            "A window must be at least 30 minutes long, a maintenance window at most 24 hours",
        ));
    }
    let overlaps = (0..=7).any(|day| {
        let backup = (day * DAY + daily.start) % WEEK;
        let apart = (backup + WEEK - weekly.start) % WEEK;
        apart < weekly.length || WEEK - apart < daily.length
    });
    if overlaps {
        return Err(contradiction("The backup window and maintenance window must not overlap."));
    }
    Ok(())
}

fn daily(window: &str) -> Option<Span> {
    let (start, end) = window.split_once('-')?;
    let (start, end) = (time(start)?, time(end)?);
    Some(Span { start, length: (end + DAY - start) % DAY })
}

fn weekly(window: &str) -> Option<Span> {
    let (start, end) = window.split_once('-')?;
    let (start, end) = (day_and_time(start)?, day_and_time(end)?);
    Some(Span { start, length: (end + WEEK - start) % WEEK })
}

fn day_and_time(text: &str) -> Option<u32> {
    let (day, rest) = text.split_once(':')?;
    let day = DAYS.iter().position(|known| known.eq_ignore_ascii_case(day))?;
    Some(u32::try_from(day).ok()? * DAY + time(rest)?)
}

fn time(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':').filter(|_| text.len() == 5)?;
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

/// How long ago the last backup window began.
pub(super) fn since_backup(backup: &str, now: Duration) -> Option<Duration> {
    let span = daily(backup)?;
    let day = f64::from(DAY) * 60.0;
    let start = f64::from(span.start) * 60.0;
    Some(Duration::from_secs_f64((Clock::epoch_seconds(now) + day - start) % day))
}

/// The next start of a maintenance window.
pub(super) fn next(maintenance: &str, now: Duration) -> Duration {
    let Some(span) = weekly(maintenance) else { return now };
    let week = Duration::from_secs(u64::from(WEEK) * 60);
    // 1970-01-01 was a Thursday.
    let since_sunday = Clock::epoch_seconds(now) + f64::from(4 * DAY) * 60.0;
    let into_week = Duration::from_secs_f64(since_sunday % week.as_secs_f64());
    let start = Duration::from_secs(u64::from(span.start) * 60);
    let ahead = if start > into_week { start } else { week + start };
    now + ahead.saturating_sub(into_week)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_checked_by_form_length_and_overlap() {
        let code = |backup, maintenance| check(backup, maintenance).map_err(|refusal| refusal.code);
        assert_eq!(code(BACKUP, MAINTENANCE), Ok(()));
        assert_eq!(code("23:45-00:30", "sat:23:00-sat:23:30"), Ok(()));
        assert_eq!(code("04:30-05:00", MAINTENANCE), Ok(()), "it begins when the other one ends");
        assert_eq!(code("03:30-04:00", MAINTENANCE), Ok(()), "it ends when the other one begins");
        for (backup, maintenance) in [
            ("2:00-02:30", MAINTENANCE),
            ("02:00-02:10", MAINTENANCE),
            ("24:00-24:30", MAINTENANCE),
            ("02:60-03:30", MAINTENANCE),
            (BACKUP, "sun:04:00-sun:04:29"),
            (BACKUP, "sun:04:00-mon:04:01"),
            (BACKUP, "sunday:04:00-sun:05:00"),
            (BACKUP, "sun:04:00-tue:04:00"),
        ] {
            assert_eq!(
                code(backup, maintenance),
                Err("InvalidParameterValue".into()),
                "{backup} {maintenance}"
            );
        }
        for (backup, maintenance) in [
            ("04:10-04:40", MAINTENANCE),
            ("04:29-05:00", MAINTENANCE),
            ("03:30-04:01", MAINTENANCE),
            ("23:45-00:30", "sun:00:00-sun:01:00"),
            // A window of 24 hours is not too long.
            (BACKUP, "sun:04:00-mon:04:00"),
        ] {
            let combination = Err("InvalidParameterCombination".into());
            assert_eq!(code(backup, maintenance), combination, "{backup} {maintenance}");
        }
    }

    #[test]
    fn the_next_window_is_found_from_any_day() {
        // Simulations start on Thursday, 2026-01-01.
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        assert_eq!(next("thu:01:00-thu:02:00", Duration::ZERO), hours(1));
        assert_eq!(next("sun:04:00-sun:04:30", Duration::ZERO), hours(3 * 24 + 4));
        assert_eq!(next("thu:01:00-thu:02:00", hours(1)), hours(7 * 24 + 1));
        assert_eq!(next("wed:00:00-wed:01:00", Duration::ZERO), hours(6 * 24));
    }
}

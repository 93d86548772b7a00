//! Schedules of EventBridge Scheduler (its user guide, "Schedule types").

use super::{refuse, require};

/// The shortest interval between two redeploys, in minutes: a deployment can take this long.
const INTERVAL_MINUTES_MIN: u64 = 30;

pub(crate) fn schedule(text: &str, _: &()) -> garde::Result {
    let inner = |kind: &str| text.strip_prefix(kind)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(rate) = inner("rate") {
        self::rate(text, rate)
    } else if let Some(fields) = inner("cron") {
        cron(text, fields)
    } else {
        refuse(
            format!("invalid recurring schedule `{text}`"),
            "`rate(12 hours)`, or `cron(MINUTE HOUR DAY MONTH WEEKDAY YEAR)` such as `cron(0 3 * * ? *)`",
        )
    }
}

/// The schedule of a rotation. A `rate` would fire at once when the schedule is created, and then at that time of day (user
/// guide, "Rate-based schedules").
pub(crate) fn rotation(text: &str, context: &()) -> garde::Result {
    if text.starts_with("rate(") {
        return refuse(
            format!("`{text}` would change the password as soon as the stack is deployed"),
            "`cron(MINUTE HOUR DAY MONTH WEEKDAY YEAR)`, such as `cron(0 4 1 * ? *)`",
        );
    }
    let is_a_number = |field: &str| field.parse::<u32>().is_ok();
    let hour = text.strip_prefix("cron(").and_then(|fields| fields.split_whitespace().nth(1));
    if hour.is_some_and(|hour| !is_a_number(hour)) {
        return refuse(
            format!("`{text}` can change the password more than once a day"),
            "one hour of the day in the second field, such as `cron(0 4 1 * ? *)`",
        );
    }
    schedule(text, context)
}

fn rate(text: &str, rate: &str) -> garde::Result {
    let minutes = rate.split_once(' ').and_then(|(count, unit)| {
        let digits = !count.starts_with('0') && count.chars().all(|c| c.is_ascii_digit());
        let unit = match unit {
            "minute" | "minutes" => 1,
            "hour" | "hours" => 60,
            "day" | "days" => 24 * 60,
            _ => return None,
        };
        count.parse::<u32>().ok().filter(|_| digits).map(|count| u64::from(count) * unit)
    });
    match minutes {
        None => refuse(
            format!("invalid rate `{text}`"),
            "a whole number and `minutes`, `hours` or `days`, such as `rate(12 hours)`",
        ),
        Some(minutes) => require(
            minutes >= INTERVAL_MINUTES_MIN,
            || format!("the interval of `{text}` is shorter than a deployment can take"),
            "`rate(30 minutes)` or longer",
        ),
    }
}

/// One field of a cron expression.
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    words: &'static [&'static str],
}

const MONTHS: &[&str] = &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const FIELDS: [Field; 6] = [
    Field { name: "minute", least: 0, most: 59, words: &[] },
    Field { name: "hour", least: 0, most: 23, words: &[] },
    Field { name: "day", least: 1, most: 31, words: &[] },
    Field { name: "month", least: 1, most: 12, words: MONTHS },
    Field { name: "weekday", least: 1, most: 7, words: WEEKDAYS },
    Field { name: "year", least: 1970, most: 2199, words: &[] },
];

fn cron(text: &str, fields: &str) -> garde::Result {
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let [minute, _, day, _, weekday, _] = fields[..] else {
        return refuse(
            format!("`{text}` has {} fields", fields.len()),
            "six fields: minute, hour, day, month, weekday and year",
        );
    };
    if minute.parse::<u32>().is_err() {
        return refuse(
            format!("`{text}` can run more than once an hour, which is shorter than a deployment can take"),
            "one minute of the hour in the first field, such as `cron(0 3 * * ? *)`",
        );
    }
    if (day == "?") == (weekday == "?") {
        return refuse(
            format!("`{text}` must have `?` as either the day or the weekday"),
            "`?` as exactly one of the two, such as `cron(0 3 * * ? *)`",
        );
    }
    for (field, value) in FIELDS.iter().zip(&fields) {
        if !value.split(',').all(|item| field.allows(item)) {
            return refuse(
                format!("invalid {} `{value}` in `{text}`", field.name),
                format!("`*`, {} to {}, ranges `a-b`, steps `a/b`, lists `a,b`", field.least, field.most),
            );
        }
    }
    Ok(())
}

impl Field {
    fn allows(&self, item: &str) -> bool {
        let day = self.name == "day";
        let weekday = self.name == "weekday";
        match item {
            "*" => true,
            "?" | "L" => day || weekday,
            "LW" => day,
            _ => {
                if let Some(day_near) = item.strip_suffix('W').filter(|_| day) {
                    return self.number(day_near).is_some();
                }
                if let Some(last) = item.strip_suffix('L').filter(|_| weekday) {
                    return self.number(last).is_some();
                }
                if let Some((which, nth)) = item.split_once('#').filter(|_| weekday) {
                    return self.number(which).is_some() && ["1", "2", "3", "4", "5"].contains(&nth);
                }
                let (start, step) =
                    item.split_once('/').map_or((item, None), |(start, step)| (start, Some(step)));
                let stepped = step
                    .is_none_or(|step| step.parse::<u32>().is_ok_and(|step| (1..=self.most).contains(&step)));
                stepped && (start == "*" || self.range(start))
            }
        }
    }

    fn range(&self, text: &str) -> bool {
        match text.split_once('-') {
            None => self.number(text).is_some(),
            Some((first, last)) => {
                matches!((self.number(first), self.number(last)), (Some(first), Some(last)) if first <= last)
            }
        }
    }

    fn number(&self, text: &str) -> Option<u32> {
        if let Some(index) = self.words.iter().position(|word| word.eq_ignore_ascii_case(text)) {
            return u32::try_from(index).ok().map(|index| index + self.least);
        }
        let digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
        text.parse().ok().filter(|number| digits && (self.least..=self.most).contains(number))
    }
}

/// A name in the format of the IANA time zone database; EventBridge Scheduler checks that the zone exists.
pub(crate) fn timezone(name: &str, _: &()) -> garde::Result {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "_+-".contains(c))
    };
    let is_valid = (1..=50).contains(&name.len())
        && name.split('/').all(part)
        && (name.contains('/') || ["UTC", "GMT"].contains(&name));
    require(
        is_valid,
        || format!("invalid time zone `{name}`"),
        "a name of the IANA time zone database, such as Europe/Berlin or UTC",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recurring_schedules_are_accepted() {
        for text in [
            "rate(30 minutes)",
            "rate(1 hour)",
            "rate(2 days)",
            "cron(0 3 * * ? *)",
            "cron(0 8-18 ? * MON-FRI *)",
            "cron(30 2 L * ? 2026-2030)",
            "cron(0 0 1W JAN,JUL ? *)",
            "cron(0 0 ? * 2#1 *)",
            "cron(0 0 ? * 6L *)",
        ] {
            assert!(schedule(text, &()).is_ok(), "{text}");
        }
    }

    #[test]
    fn other_schedules_are_refused() {
        for text in [
            "",
            "hourly",
            "at(2026-01-01T00:00:00)",
            "rate(10 minutes)",
            "rate(0 days)",
            "rate(1.5 hours)",
            "rate(+1 days)",
            "rate(1 week)",
            "rate(1days)",
            "cron(0 3 * * *)",
            "cron(0 3 * * * *)",
            "cron(0 3 ? * ? *)",
            "cron(60 3 * * ? *)",
            "cron(0 24 * * ? *)",
            "cron(0 3 0 * ? *)",
            "cron(0 3 * FOO ? *)",
            "cron(0 3 ? * 8 *)",
            "cron(* 3 * * ? *)",
            "cron(0/15 8-18 ? * MON-FRI *)",
            "cron(5,6 3 * * ? *)",
            "cron(5-1 3 * * ? *)",
            "cron(0/0 3 * * ? *)",
            "cron(0 3 * * ? *",
        ] {
            assert!(schedule(text, &()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rotation_has_a_time_of_day() {
        assert!(rotation("cron(0 4 1 * ? *)", &()).is_ok());
        for text in
            ["rate(30 days)", "monthly", "cron(0 4 1 * * *)", "cron(0 * * * ? *)", "cron(0 1,2 * * ? *)"]
        {
            assert!(rotation(text, &()).is_err(), "{text}");
        }
    }

    #[test]
    fn time_zones_are_names_not_offsets() {
        for (name, expected) in [
            ("UTC", true),
            ("Europe/Berlin", true),
            ("America/Argentina/Buenos_Aires", true),
            ("Etc/GMT+3", true),
            ("CET", false),
            ("+01:00", false),
            ("Europe/", false),
            ("", false),
        ] {
            assert_eq!(timezone(name, &()).is_ok(), expected, "{name}");
        }
    }
}

//! Finds the word that a misspelled word probably means.

/// The one of the `known` words with the smallest distance to a word, if the distance is small enough for a typo.
pub(crate) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| -> Vec<char> {
        text.chars().filter(|c| !"-_ ".contains(*c)).flat_map(char::to_lowercase).take(64).collect()
    };
    let typed = plain(word);
    known
        .map(|candidate| (distance(&typed, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| {
            *distance <= (candidate.len().min(typed.len()) / 3).max(1).min(typed.len() / 2)
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// The number of letters to insert, delete, replace, or swap with the next one (Damerau-Levenshtein).
fn distance(one: &[char], two: &[char]) -> usize {
    let mut rows = vec![(0..=two.len()).collect::<Vec<usize>>()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in two.iter().enumerate() {
            let mut best = (rows[i][j] + usize::from(a != b)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == two[j - 1] && one[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[one.len()][two.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_recognized_and_another_word_is_not() {
        let known = ["stack", "region", "loadBalancer", "cpu", "count"];
        for (word, meant) in [
            ("stak", Some("stack")),
            ("load_balancer", Some("loadBalancer")),
            ("loadbalancers", Some("loadBalancer")),
            ("reigon", Some("region")),
            ("CPU", Some("cpu")),
            ("cup", Some("cpu")),
            ("memory", None),
            ("x", None),
            // Two of four letters differ: another word. A third of a long word may differ.
            ("rock", None),
            ("loadBalxnxyr", Some("loadBalancer")),
            ("", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), meant, "{word}");
        }
    }
}

//! Every part that a component needs outside its own folder. The tests report each missing part, and where it belongs.

use std::path::Path;

use serde_json::json;
use stackdrop::rehearsal::pascal_case;
use stackdrop_functions::aws::error::StepError;
use stackdrop_functions::workflow::table::PARTS;
use stackdrop_functions::{COMPONENTS, handle};
use stackdrop_specs::Spec;

use crate::{SHOP, admitted_state, rehearsal};

/// A component's name in the spellings of the repository's files.
struct Names {
    kebab: String,
    snake: String,
    pascal: String,
    upper: String,
}

impl Names {
    fn of(component: &str) -> Self {
        let snake = component.replace('-', "_");
        Self {
            kebab: component.to_owned(),
            pascal: pascal_case(component),
            upper: snake.to_uppercase(),
            snake,
        }
    }
}

/// One place where a component must be mentioned.
struct Place {
    what: &'static str,
    /// The file; `{}` stands for the component's name.
    file: &'static str,
    mention: fn(&Names) -> String,
}

const TEMPLATE: &str = "template.yaml";

/// Every such place, in the order in which a new component is written.
const PLACES: [Place; 19] = [
    Place {
        what: "its name",
        file: "functions/src/deployment/component_names.rs",
        mention: |n| format!("pub const {}: &str = \"{}\";", n.upper, n.kebab),
    },
    Place {
        what: "its outputs",
        file: "functions/src/deployment/outputs.rs",
        mention: |n| format!("    /// Of `{}`.\n", n.kebab),
    },
    Place {
        what: "its outputs where two states are joined",
        file: "functions/src/deployment/outputs.rs",
        mention: |n| format!("{0}: self.{0}.or(other.{0}),", n.snake),
    },
    Place {
        what: "its module",
        file: "functions/src/components/mod.rs",
        mention: |n| format!("pub mod {};", n.snake),
    },
    Place {
        what: "its place in the list of components",
        file: "functions/src/components/mod.rs",
        mention: |n| format!("    {}::FUNCTION,", n.snake),
    },
    Place {
        what: "its program",
        file: "functions/src/bin/{}.rs",
        mention: |n| format!("{}::FUNCTION", n.snake),
    },
    Place {
        what: "its row in the table of the workflow",
        file: "functions/src/workflow/table.rs",
        mention: |n| format!("\n        component: {},\n        creates:", n.upper),
    },
    Place {
        what: "its states in the workflow",
        file: "statemachine/deploy.asl.json",
        mention: |n| format!("\"Plan{}\": {{", n.pascal),
    },
    Place {
        what: "the duration of its changes in the estimate",
        file: "functions/src/deployment/estimate/duration.rs",
        mention: |n| format!("changes(component_names::{})", n.upper),
    },
    Place { what: "its function", file: TEMPLATE, mention: |n| format!("\n  {}Function:\n", n.pascal) },
    Place { what: "its log group", file: TEMPLATE, mention: |n| format!("\n  {}Logs:\n", n.pascal) },
    Place { what: "its role", file: TEMPLATE, mention: |n| format!("\n  {}Role:\n", n.pascal) },
    Place {
        what: "the function that its states invoke",
        file: TEMPLATE,
        mention: |n| format!("{0}: !Ref {0}Function.Version", n.pascal),
    },
    Place {
        what: "the workflow's permission to invoke it",
        file: TEMPLATE,
        mention: |n| format!("- !Sub ${{{}Function.Arn}}:*", n.pascal),
    },
    Place {
        what: "its duration on the dashboard",
        file: TEMPLATE,
        mention: |n| format!("\"Duration\", \"FunctionName\", \"${{{}Function}}\"", n.pascal),
    },
    Place {
        what: "its errors on the dashboard",
        file: TEMPLATE,
        mention: |n| format!("\"Errors\", \"FunctionName\", \"${{{}Function}}\"", n.pascal),
    },
    Place {
        what: "its log on the dashboard",
        file: TEMPLATE,
        mention: |n| format!("SOURCE '${{{}Logs}}'", n.pascal),
    },
    Place {
        what: "its permissions in the handbook",
        file: "docs/permissions.md",
        mention: |n| format!("## {}Role\n", n.pascal),
    },
    Place {
        what: "its step in the overview",
        file: "ARCHITECTURE.md",
        mention: |n| format!(" {} ▶", n.pascal),
    },
];

/// The text of a file of the repository; empty where there is none.
fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_default()
}

/// The places that do not mention the component, with `read` for reading files.
fn missing(names: &Names, read: impl Fn(&str) -> String) -> Vec<String> {
    let missing = PLACES.iter().filter_map(|place| {
        let file = place.file.replace("{}", &names.kebab);
        let mention = (place.mention)(names);
        (!read(&file).contains(&mention))
            .then(|| format!("{}: {file} lacks {:?}", place.what, mention.trim()))
    });
    missing.collect()
}

#[test]
fn every_component_has_all_its_parts() {
    for part in PARTS {
        assert_eq!(missing(&Names::of(part.component), read), Vec::<String>::new(), "{}", part.component);
    }
}

#[test]
fn the_workflow_table_lists_the_components_in_order() {
    let listed: Vec<&str> = COMPONENTS.iter().map(|component| component.name).collect();
    let table: Vec<&str> = PARTS.iter().map(|part| part.component).collect();
    assert_eq!(table, listed);
}

/// Whether the workflow waits for a component, in the end or before another one.
fn is_waited_for(component: &str) -> bool {
    PARTS.iter().any(|part| {
        part.component == component && part.stable.is_some()
            || part.needs.iter().any(|need| need.component == component)
    })
}

#[tokio::test(start_paused = true)]
async fn the_workflow_waits_for_every_component_that_is_not_stable_at_once() {
    let rehearsal = rehearsal(SHOP);
    let deployment = admitted_state(&Spec::read(SHOP.as_bytes()).unwrap());
    for component in &COMPONENTS {
        let payload = json!({ "action": "wait-until-stable", "deployment": deployment });
        let answer = handle(component.name, payload, rehearsal.aws()).await;
        let has_no_wait =
            matches!(&answer, Err(StepError::Defect(why)) if why.contains("stable once it is applied"));
        assert_eq!(is_waited_for(component.name), !has_no_wait, "{}: {answer:?}", component.name);
    }
}

#[test]
fn a_new_component_gets_a_list_of_all_its_missing_parts() {
    let missing = missing(&Names::of("cache-cluster"), read);
    let expected = PLACES.iter().map(|place| place.what);
    let reported: Vec<&str> = missing.iter().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(reported, expected.collect::<Vec<_>>());
    for line in [
        "its program: functions/src/bin/cache-cluster.rs lacks \"cache_cluster::FUNCTION\"",
        "its role: template.yaml lacks \"CacheClusterRole:\"",
    ] {
        assert!(missing.contains(&line.to_owned()), "{missing:#?}");
    }
}

#[test]
fn every_missing_part_of_a_component_is_reported() {
    let mut removed = 0;
    for part in PARTS {
        let names = Names::of(part.component);
        for place in &PLACES {
            // Another line with the same text would hide that the part is missing. The overview shows two paths.
            let times =
                read(&place.file.replace("{}", &names.kebab)).matches(&(place.mention)(&names)).count();
            assert!(
                times == 1 || place.file == "ARCHITECTURE.md",
                "{} of {}: {times}",
                place.what,
                part.component
            );
            let (file, mention) = (place.file.replace("{}", &names.kebab), (place.mention)(&names));
            let without = |path: &str| {
                let text = read(path);
                if path == file { text.replace(&mention, "") } else { text }
            };
            let reported = missing(&names, without);
            let about = reported.iter().any(|line| line.starts_with(&format!("{}:", place.what)));
            assert!(about, "a missing {} of {} is not reported: {reported:?}", place.what, part.component);
            removed += 1;
        }
    }
    println!("{removed} parts removed, each reported");
}

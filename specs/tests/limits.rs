//! Values at the edge of what a spec accepts: the last that is accepted, and the first that is refused.

use stackdrop_specs::{LONGEST_SPEC, Spec};

/// Whether the spec is valid. A refusal must be about a value that contains the text.
fn accepts(spec: &str, about: &str) -> bool {
    match Spec::read(spec.as_bytes()) {
        Ok(_) => true,
        Err(errors) => {
            assert!(errors.to_string().contains(about), "{errors}\nis not about {about:?}:\n{spec}");
            false
        }
    }
}

#[test]
fn a_spec_of_the_largest_size_is_accepted_and_one_byte_more_is_not() {
    let spec = |bytes: usize| format!("stack: shop\n#{}", "x".repeat(bytes - "stack: shop\n#".len()));
    assert!(accepts(&spec(LONGEST_SPEC), ""));
    assert!(!accepts(&spec(LONGEST_SPEC + 1), "65537 bytes"));
}

#[test]
fn instance_types_have_a_family_and_a_size() {
    let accepts = |name: &str| accepts(&format!("stack: shop\ninstance: {{ type: {name} }}\n"), name);
    for name in [
        "t4g.nano",
        "m7i.xlarge",
        "m7i-flex.2xlarge",
        "u-6tb1.metal",
        "c7i.metal-24xl",
        "m7i.48xlarge",
        "t2.micro",
    ] {
        assert!(accepts(name), "{name}");
    }
    for name in [
        "t4g.tiny",
        "t4g.xxlarge",
        "m7i.02xlarge",
        "m7i.2x",
        "m7i.metal-xlarge2",
        "m7i.metal-024xl",
        "micro",
        "4g.micro",
        "t.micro",
        "T4g.micro",
        "t4_g.micro",
        "t4g.",
        ".micro",
    ] {
        assert!(!accepts(name), "{name}");
    }
}

#[test]
fn database_classes_have_a_family_and_a_size() {
    let accepts = |class: &str| accepts(&format!("stack: shop\ndatabase: {{ class: {class} }}\n"), class);
    for class in ["db.t4g.micro", "db.r7g.2xlarge", "db.m7i.large"] {
        assert!(accepts(class), "{class}");
    }
    for class in ["db.t4g.tiny", "db.t.micro", "t4g.micro", "db.r7g", "db.T4g.micro"] {
        assert!(!accepts(class), "{class}");
    }
}

#[test]
fn a_certificate_is_the_arn_of_a_certificate_in_acm() {
    let accepts = |arn: &str| {
        let spec = format!(
            "stack: shop\nloadBalancer: {{ certificateArn: '{arn}' }}\nservices: {{ web: {{ image: nginx, port: 80, routes: [{{ path: /* }}] }} }}\n"
        );
        accepts(&spec, arn)
    };
    assert!(accepts("arn:aws:acm:eu-central-1:123456789012:certificate/6d4b1c2e-8f3a"));
    for arn in [
        "urn:aws:acm:eu-central-1:123456789012:certificate/6d4b",
        "arn:ibm:acm:eu-central-1:123456789012:certificate/6d4b",
        "arn:awS:acm:eu-central-1:123456789012:certificate/6d4b",
        "arn:aws:iam:eu-central-1:123456789012:certificate/6d4b",
        "arn:aws:acm:Frankfurt:123456789012:certificate/6d4b",
        "arn:aws:acm:eu-central-1:12345678901:certificate/6d4b",
        "arn:aws:acm:eu-central-1:12345678901x:certificate/6d4b",
        "arn:aws:acm:eu-central-1:123456789012:certificate/",
        "arn:aws:acm:eu-central-1:123456789012:certificate/6d4b_x",
        "arn:aws:acm:eu-central-1:123456789012:key/6d4b",
        "arn:aws:acm:eu-central-1:123456789012",
    ] {
        assert!(!accepts(arn), "{arn}");
    }
}

#[test]
fn a_service_uses_the_database_if_a_variable_has_one_of_its_values() {
    let spec = "stack: shop\ndatabase: {}\nservices:\n  web: { image: a, database: { HOST: host } }\n  mail: { image: a }\n";
    let spec = Spec::read(spec.as_bytes()).unwrap();
    assert!(spec.services["web"].uses_database());
    assert!(!spec.services["mail"].uses_database());
}

#[test]
fn a_problem_names_the_place_of_its_value() {
    let spec =
        "stack: shop\nservices:\n  web: { image: nginx, command: [ok, ''] }\ninstance: { type: micro }\n";
    let errors = Spec::read(spec.as_bytes()).unwrap_err();
    let places: Vec<String> = errors.problems().iter().map(|problem| problem.path.clone()).collect();
    assert!(places.contains(&"instance.type".to_owned()), "{places:?}");
}

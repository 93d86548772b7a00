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
    assert!(!accepts(&spec(LONGEST_SPEC + 1), &format!("{} bytes", LONGEST_SPEC + 1)));
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
fn a_web_acl_is_the_arn_of_a_regional_web_acl() {
    let accepts = |arn: &str| {
        let spec = format!(
            "stack: shop\nloadBalancer: {{ certificateArn: 'arn:aws:acm:eu-central-1:123456789012:certificate/6d4b', webAclArn: '{arn}' }}\nservices: {{ web: {{ image: nginx, port: 80, routes: [{{ path: /* }}] }} }}\n"
        );
        accepts(&spec, arn)
    };
    let (longest, id) = ("n".repeat(128), "3f2504e0-4f89-41d3-9a0c-0305e82c3301");
    for name in ["shop", "Shop_web-1", longest.as_str()] {
        let arn = format!("arn:aws:wafv2:eu-central-1:123456789012:regional/webacl/{name}/{id}");
        assert!(accepts(&arn), "{arn}");
    }
    for (service, resource) in [
        ("waf-regional", format!("webacl/{id}")),
        ("wafv2", format!("global/webacl/shop/{id}")),
        ("wafv2", format!("regional/rulegroup/shop/{id}")),
        ("wafv2", format!("regional/webacl/{id}")),
        ("wafv2", "regional/webacl/shop/".into()),
        ("wafv2", "regional/webacl/shop/3f2504e0".into()),
        ("wafv2", format!("regional/webacl/shop/{}", id.to_uppercase())),
        ("wafv2", format!("regional/webacl//{id}")),
        ("wafv2", format!("regional/webacl/shop/{id}/more")),
        ("wafv2", format!("regional/webacl/a shop/{id}")),
        ("wafv2", format!("regional/webacl/{longest}n/{id}")),
    ] {
        let arn = format!("arn:aws:{service}:eu-central-1:123456789012:{resource}");
        assert!(!accepts(&arn), "{arn}");
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

#[test]
fn a_region_has_an_area_a_direction_and_a_digit() {
    let accepts = |region: &str| accepts(&format!("stack: shop\nregion: {region}\n"), region);
    for region in ["eu-central-1", "us-gov-west-1", "ap-southeast-5"] {
        assert!(accepts(region), "{region}");
    }
    for region in [
        "eu-1",
        "eu",
        "europe-central-1",
        "eu-central-12",
        "eu-central-x",
        "eu--1",
        "eu-central",
        "EU-central-1",
        "eu-c3ntral-1",
        "e1-central-1",
    ] {
        assert!(!accepts(region), "{region}");
    }
}

#[test]
fn a_secret_is_the_full_arn_of_a_secret_or_of_one_of_its_keys_or_of_a_parameter() {
    let accepts = |arn: &str| {
        accepts(
            &format!("stack: shop\nservices: {{ web: {{ image: nginx, secrets: {{ KEY: '{arn}' }} }} }}\n"),
            arn,
        )
    };
    let arn = |rest: &str| format!("arn:aws:secretsmanager:eu-central-1:123456789012:{rest}");
    for rest in ["secret:shop/key-aBcD12", "secret:shop-aBcD12:password::", "secret:a-aBcD12:key:AWSCURRENT:"]
    {
        assert!(accepts(&arn(rest)), "{rest}");
    }
    for rest in [
        "secret:-aBcD12",
        "secret:a!b-aBcD12",
        "secret:a-aBcD1",
        "secret:a-aBcD1_",
        "secret:a",
        "key:a-aBcD12",
        "secret:a-aBcD12:key",
    ] {
        assert!(!accepts(&arn(rest)), "{rest}");
    }
    assert!(!accepts("arn:aws:ssm:eu-central-1:123456789012:secret:a-aBcD12"));
    let parameter = |rest: &str| format!("arn:aws:ssm:eu-central-1:123456789012:parameter{rest}");
    for rest in ["/key", "/stackdrop/shop/licence-Key_2.0"] {
        assert!(accepts(&parameter(rest)), "{rest}");
    }
    for rest in ["", "/", "//key", "/shop/", "/shop/key:3", "/shop/*", "key"] {
        assert!(!accepts(&parameter(rest)), "{rest}");
    }
    // A parameter of AWS's own, which has no account.
    assert!(!accepts("arn:aws:ssm:eu-central-1::parameter/aws/service/list"));
}

#[test]
fn a_database_has_a_name_of_postgresql() {
    let accepts = |name: &str| accepts(&format!("stack: shop\ndatabase: {{ name: '{name}' }}\n"), "name");
    for name in ["shop", "s", "shop_2", &"x".repeat(63)] {
        assert!(accepts(name), "{name}");
    }
    for name in ["", "_shop", "2shop", "Shop", "sh-op", "shöp", "user", &"x".repeat(64)] {
        assert!(!accepts(name), "{name}");
    }
}

#[test]
fn a_load_balancer_has_at_most_five_hundred_targets() {
    let spec = |count: usize| {
        format!(
            "stack: shop\nloadBalancer: {{ certificateArn: 'arn:aws:acm:eu-central-1:123456789012:certificate/6d4b' }}\nservices:\n  \
             a: {{ image: nginx, port: 80, count: 250, routes: [{{ path: /* }}] }}\n  \
             b: {{ image: nginx, port: 80, count: {count}, routes: [{{ path: /b }}] }}\n"
        )
    };
    assert!(accepts(&spec(250), ""));
    assert!(!accepts(&spec(251), "501 tasks"));
}

#[test]
fn many_memory_sizes_are_listed_as_a_range_and_few_one_by_one() {
    let expected = |cpu: u32| {
        let spec =
            format!("stack: shop\nservices: {{ web: {{ image: nginx, cpu: {cpu}, memory: 1000 }} }}\n");
        Spec::read(spec.as_bytes()).unwrap_err().problems()[0].expected.clone()
    };
    assert!(
        expected(1024).contains("2048, 3072, 4096, 5120, 6144, 7168 or 8192 (MiB)"),
        "{}",
        expected(1024)
    );
    assert!(expected(2048).contains("4096 to 16384 in steps of 1024 (MiB)"), "{}", expected(2048));
}

#[test]
fn a_problem_shown_alone_has_its_place_and_what_is_expected() {
    let errors = Spec::read(b"stack: shop\nnetwork: { zones: 9 }\n").unwrap_err();
    let shown = errors.problems()[0].to_string();
    assert!(
        shown.contains("line 2, column 19") && shown.contains("zones: 9") && shown.contains("from 2 to 3"),
        "{shown}"
    );
}

/// A spec whose load balancer has this field.
fn load_balancer(field: &str) -> String {
    format!(
        "stack: shop\nservices: {{ web: {{ image: nginx, port: 80, routes: [{{ path: /* }}] }} }}\nloadBalancer: {{ {field} }}\n"
    )
}

#[test]
fn a_hosted_zone_has_the_id_of_route_53() {
    let accepts = |id: &str| {
        accepts(&load_balancer(&format!("domain: shop.example.com, hostedZoneId: '{id}'")), "hostedZoneId")
    };
    for id in ["Z0123456789ABCDEFGHIJ", "Z1", &format!("Z{}", "A".repeat(31))] {
        assert!(accepts(id), "{id}");
    }
    for id in ["", "Z", "A0123456789", "Zabc", "Z012_3", "/hostedzone/Z0123", &format!("Z{}", "A".repeat(32))]
    {
        assert!(!accepts(id), "{id}");
    }
}

#[test]
fn access_logs_have_a_bucket_and_a_prefix_that_s3_and_the_load_balancer_accept() {
    let certificate = "certificateArn: 'arn:aws:acm:eu-central-1:123456789012:certificate/6d4b'";
    let bucket = |name: &str| {
        accepts(&load_balancer(&format!("{certificate}, accessLogs: {{ bucket: '{name}' }}")), "bucket")
    };
    for name in ["logs", "my.logs-2", "123", &"x".repeat(63)] {
        assert!(bucket(name), "{name}");
    }
    for name in [
        "ab",
        &"x".repeat(64),
        "My-logs",
        "my_logs",
        "-logs",
        "logs-",
        ".logs",
        "my..logs",
        "10.0.0.1",
        "xn--logs",
        "logs-s3alias",
    ] {
        assert!(!bucket(name), "{name}");
    }
    let prefix = |text: &str| {
        accepts(
            &load_balancer(&format!("{certificate}, accessLogs: {{ bucket: logs, prefix: \"{text}\" }}")),
            "prefix",
        )
    };
    for text in ["shop", "shop/web", "a!b", &"x".repeat(200)] {
        assert!(prefix(text), "{text}");
    }
    for text in ["", "/shop", "shop/", "shop/AWSLogs", "a b", &"x".repeat(201)] {
        assert!(!prefix(text), "{text}");
    }
}

#[test]
fn a_control_character_is_shown_at_its_place() {
    let errors = Spec::read(b"stack: shop\nregion: eu\x07\n").unwrap_err();
    let problem = &errors.problems()[0];
    assert_eq!((problem.line, problem.column, problem.text.as_str()), (2, 11, "\u{7}"), "{errors}");
}

#[test]
fn a_writable_path_is_an_absolute_folder_outside_of_the_systems_own() {
    let accepts = |path: &str| {
        let paths = format!("readOnlyRootFilesystem: true, writablePaths: ['{path}']");
        accepts(&format!("stack: shop\nservices: {{ web: {{ image: nginx, {paths} }} }}\n"), path)
    };
    let longest = format!("/{}", "x".repeat(254));
    for path in ["/tmp", "/var/cache/nginx", "/.cache", "/a..b", "/device", longest.as_str()] {
        assert!(accepts(path), "{path}");
    }
    let too_long = format!("/{}", "x".repeat(255));
    for path in [
        "/", "tmp", "/tmp/", "//tmp", "/a/../b", "/a/.", "/a b", "/ä", "/proc", "/sys/fs", "/dev/shm",
        &too_long,
    ] {
        assert!(!accepts(path), "{path}");
    }
}

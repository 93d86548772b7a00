//! `latency-model.json` as the programs carry it: the thing, p10, p50 and p90 of creating it, and of its deletion. Made
//! from that file by `UPDATE=1 cargo test the_table`.

use crate::latency::Row;

#[rustfmt::skip]
pub(crate) const TABLE: &[Row] = &[
    ("nat_gateway", [87.7, 105.5, 123.3], [44.4, 60.5, 69.0]),
    ("alb", [129.0, 142.0, 176.0], [13.6, 16.0, 98.6]),
    ("rds_postgres_single_az", [196.0, 271.5, 649.2], [111.4, 116.0, 256.8]),
    ("rds_postgres_restored", [300.0, 420.0, 900.0], [111.4, 116.0, 256.8]),
    ("vpc_endpoint_interface", [43.0, 95.0, 107.6], [45.0, 90.0, 300.0]),
    ("vpc_endpoint_gateway_s3", [6.0, 6.0, 6.2], [6.1, 6.5, 6.9]),
    ("ec2_instance_running", [12.4, 34.0, 50.8], [29.9, 38.0, 62.9]),
    ("ssm_agent_online_after_running", [40.0, 90.0, 180.0], [0.0, 0.0, 0.0]),
    ("iam_instance_profile_visible_to_ec2", [6.9, 7.9, 8.6], [0.3, 1.0, 2.0]),
    ("iam_role", [0.5, 1.0, 2.0], [0.5, 1.0, 2.0]),
    ("iam_role_assumable_by_service", [3.0, 8.0, 30.0], [0.0, 0.0, 0.0]),
    ("ecs_cluster", [10.3, 11.0, 11.7], [1.0, 2.0, 12.0]),
    ("ecs_task_definition_register", [0.2, 0.5, 1.0], [0.2, 0.5, 1.0]),
    ("ecs_service_create_call", [0.3, 1.0, 2.0], [0.3, 1.0, 2.0]),
    ("ecs_service_steady_after_alb_active", [55.0, 70.0, 130.0], [121.6, 330.0, 380.8]),
    ("vpc", [1.9, 11.5, 22.0], [0.4, 1.0, 1.0]),
    ("subnet", [1.6, 3.5, 4.0], [1.0, 1.0, 1.0]),
    ("internet_gateway", [1.0, 1.0, 4.5], [1.0, 22.0, 39.4]),
    ("elastic_ip", [0.0, 1.0, 2.0], [1.1, 1.5, 1.9]),
    ("route_table", [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]),
    ("route", [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]),
    ("route_table_association", [0.3, 1.0, 1.0], [1.0, 1.0, 1.0]),
    ("security_group", [2.0, 2.0, 3.0], [1.0, 1.0, 1.0]),
    ("security_group_rule", [0.0, 0.0, 2.3], [0.3, 0.7, 2.0]),
    ("target_group", [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]),
    ("listener", [0.0, 0.0, 3.0], [0.3, 0.7, 2.0]),
    ("db_subnet_group", [0.5, 1.0, 3.0], [0.3, 1.0, 3.0]),
    ("cloudwatch_log_group", [0.3, 0.7, 1.5], [0.3, 0.7, 1.5]),
    ("acm_certificate_dns_validated", [65.1, 81.5, 97.9], [0.5, 1.0, 30.0]),
    ("route53_record_insync", [42.0, 42.0, 42.0], [30.0, 40.0, 60.0]),
    ("secret_managed_by_rds", [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
    ("api_control_call", [0.08, 0.2, 0.8], [0.08, 0.2, 0.8]),
    ("lambda_cold_start_rust", [0.02, 0.05, 0.25], [0.0, 0.0, 0.0]),
];

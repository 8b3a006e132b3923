// A production instance as Node-RED's documentation describes one: no editor, quiet log, nothing installed while it runs.
module.exports = {
    uiHost: "127.0.0.1",
    uiPort: process.env.BENCH_UI_PORT,
    httpAdminRoot: false,
    httpNodeRoot: false,
    flowFile: "flow.json",
    credentialSecret: false,
    functionExternalModules: true,
    externalModules: { autoInstall: false, palette: { allowInstall: false }, modules: { allowInstall: false } },
    telemetry: { enabled: false },
    logging: { console: { level: "warn", metrics: false, audit: false } }
}

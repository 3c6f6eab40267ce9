// A demonstration's site, its page served by the real binary, and a browser that notes what a page must not do.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const here = dirname(fileURLToPath(import.meta.url));
const binary = process.env.LINKAGE_BIN ?? resolve(here, "../../target/debug/linkage");
export const out = join(here, "out");

const browsers = [process.env.LINKAGE_CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const executablePath = browsers.find((path) => path && existsSync(path));

/** A kept demonstration: the one that LINKAGE_SITE names, or a new one. */
function demonstration() {
  if (process.env.LINKAGE_SITE) return { folder: resolve(process.env.LINKAGE_SITE), made: false };
  const folder = join(mkdtempSync(join(tmpdir(), "linkage-page-")), "site");
  const run = spawnSync(binary, ["demo", "--persons", "900", "--months", "3", "--seed", "7", "--keep", folder], { encoding: "utf8" });
  if (run.status !== 0) throw new Error(`linkage demo: ${run.stderr}${run.stdout}`);
  return { folder, made: true };
}

function role(name, config) {
  return spawn(binary, [name, "serve", "--config", config], { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, LINKAGE_EXIT_WITH_PARENT: "1" } });
}

/** Starts `linkage analyst serve`; resolves with the one-time link. */
function serve(config) {
  const child = role("analyst", config);
  let log = "";
  child.stderr.on("data", (text) => (log += text));
  const link = new Promise((found, failed) => {
    let said = "";
    child.stdout.on("data", (text) => {
      said += text;
      const url = said.match(/https:\/\/\S+/);
      if (url) found(url[0]);
    });
    child.on("exit", (code) => failed(new Error(`linkage analyst serve ended (${code}): ${log}`)));
  });
  return { child, link };
}

export class Site {
  static async start() {
    mkdirSync(out, { recursive: true });
    const site = new Site();
    Object.assign(site, demonstration());
    site.config = join(site.folder, "etude/linkage.toml");
    Object.assign(site, serve(site.config));
    site.broker = role("broker", join(site.folder, "courtier/linkage.toml"));
    site.broker.stdout.resume();
    site.broker.stderr.resume();
    site.url = await site.link;
    site.origin = new URL(site.url).origin;
    site.browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
    return site;
  }

  /** A fresh browser profile; `faults` collects what none of its pages may do. */
  async profile(options = {}) {
    const context = await this.browser.newContext({ ignoreHTTPSErrors: true, locale: "fr-FR", acceptDownloads: true, ...options });
    // For a machine that is stuck, far above what a busy one needs.
    context.setDefaultTimeout(180_000);
    const faults = [];
    await context.route("**/*", (route) => {
      const url = route.request().url();
      if (!url.startsWith(`${this.origin}/`)) faults.push(`request elsewhere: ${url}`);
      return route.continue();
    });
    context.on("page", (page) => {
      page.on("console", (message) => ["error", "warning"].includes(message.type()) && faults.push(`console: ${message.text()}`));
      page.on("pageerror", (error) => faults.push(`script: ${error.message}`));
      page.on("response", (response) => {
        const policy = response.headers()["content-security-policy"] ?? "";
        if (!policy.includes("default-src 'none'") || /unsafe|script-src/.test(policy)) faults.push(`policy of ${response.url()}: ${policy}`);
      });
    });
    return { context, faults };
  }

  /** Runs a command of the program; its standard output. */
  command(...args) {
    const run = spawnSync(binary, args, { encoding: "utf8" });
    if (run.status !== 0) throw new Error(`linkage ${args.join(" ")}: ${run.stderr}${run.stdout}`);
    return run.stdout;
  }

  /** Opens a run as the agreement's coordinator, once the broker listens. No node is there to take part. */
  async openRun(run) {
    const coordinator = readFileSync(join(this.folder, "convention.toml"), "utf8").match(/coordinator = "(.+)"/)[1];
    const config = join(this.folder, `noeuds/${coordinator}/linkage.toml`);
    for (let tries = 0; ; tries++) {
      try {
        return this.command("run", "open", "--config", config, "--run", run, "--period", run);
      } catch (error) {
        if (tries === 400) throw error;
        await new Promise((done) => setTimeout(done, 250));
      }
    }
  }

  /** The analyst's certificate, as a browser shows it. */
  certificate() {
    const file = (name) => join(this.folder, "etude/tls", name);
    return { clientCertificates: [{ origin: this.origin, certPath: file("certificat.pem"), keyPath: file("certificat.key") }] };
  }

  accessLog() {
    const run = spawnSync("sh", ["-c", `cat "${join(this.folder, "etude/donnees/access")}"/*.jsonl`], { encoding: "utf8" });
    return run.stdout.trim().split("\n").map((line) => JSON.parse(line));
  }

  async stop() {
    await this.browser?.close();
    for (const child of [this.child, this.broker].filter((child) => child && child.exitCode === null)) {
      const ended = new Promise((done) => child.on("exit", done));
      child.stdin.end();
      await ended;
    }
    if (this.made) rmSync(dirname(this.folder), { recursive: true, force: true });
  }
}

export const axeSource = readFileSync(join(here, "node_modules/axe-core/axe.min.js"), "utf8");

// The analyst's page as people meet it: every view, a query, files, publication; keyboard, phone, print, no script.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Site, axeSource, out } from "./site.mjs";

const VIEWS = ["/", "/flux", "/recouvrements", "/parcours", "/requete", "/rapports", "/publications", "/donnees", "/utilisateurs"];

let site, main;

before(async () => {
  site = await Site.start();
  main = await site.profile({ viewport: { width: 1200, height: 900 } });
  const page = await main.context.newPage();
  const answer = await page.goto(site.url);
  assert.equal(answer.status(), 200);
  assert.equal(new URL(page.url()).pathname, "/");
  await page.close();
}, { timeout: 600_000 });

after(async () => site?.stop());

const name = (path) => (path === "/" ? "accueil" : path.slice(1).replaceAll(/[/?=&]/g, "-"));

async function open(path, context = main.context) {
  const page = await context.newPage();
  const answer = await page.goto(site.origin + path);
  return { page, status: answer.status() };
}

/** A second profile with the first one's session. */
async function also(options) {
  return site.profile({ ...options, storageState: await main.context.storageState() });
}

test("every view opens, has its landmarks, and passes the checks of accessibility", async () => {
  for (const path of VIEWS) {
    const { page, status } = await open(path);
    assert.equal(status, 200, path);
    assert.equal(await page.locator("h1").count(), 1, path);
    assert.equal(await page.locator("main, header, nav, footer").count(), 4, path);
    assert.equal(await page.locator("html").getAttribute("lang"), "fr");
    const levels = await page.locator("h1, h2, h3, h4").evaluateAll((all) => all.map((h) => Number(h.tagName[1])));
    levels.forEach((level, i) => assert.ok(i === 0 || level <= levels[i - 1] + 1, `${path}: heading ${i} jumps to ${level}`));
    await page.screenshot({ path: join(out, `${name(path)}.png`), fullPage: true });
    await page.evaluate(axeSource);
    const found = await page.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] }));
    assert.deepEqual(found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target).join(" ")}`), [], path);
    await page.close();
  }
  assert.deepEqual(main.faults, []);
});

test("each drawing has a text beside it and its figures in a table", async () => {
  for (const [path, least] of [["/", 1], ["/flux", 2], ["/recouvrements", 1], ["/parcours", 1]]) {
    const { page } = await open(path);
    const drawings = page.locator("svg[role=img]");
    assert.ok((await drawings.count()) >= least, path);
    for (const drawing of await drawings.all()) {
      const id = await drawing.getAttribute("aria-describedby");
      assert.ok((await page.locator(`#${id}`).innerText()).length > 20, `${path} ${id}`);
    }
    const tables = page.locator("table.figures");
    assert.ok((await tables.count()) >= least, path);
    for (const table of await tables.all()) {
      assert.equal(await table.locator("caption").count(), 1);
      assert.equal(await table.locator("th:not([scope])").count(), 0);
    }
    await page.close();
  }
});

test("a query is built, shown protected, exported and published", async () => {
  const { page } = await open("/requete");
  await page.getByLabel("titre").fill("Fiches par partenaire et hébergement");
  await page.getByLabel("mesure").selectOption("stock");
  await page.getByLabel("Ventilation 1").selectOption("party");
  await page.getByLabel("Ventilation 2").selectOption("sexe");
  await page.getByRole("button", { name: "Voir l’aperçu" }).click();
  await page.waitForURL(/ventilation=party/);
  const table = page.locator("table.figures");
  assert.equal(await table.locator("caption").innerText().then((t) => t.startsWith("Fiches par partenaire")), true);
  const cells = await table.locator("td").allInnerTexts();
  assert.ok(cells.length > 10);
  const shown = cells.map((c) => c.split("\n")[0].replaceAll(/[\u202f\s]/g, ""));
  const figures = shown.filter((c) => /^\d+$/.test(c)).map(Number);
  assert.ok(figures.length > 0, "some figures are shown");
  assert.ok(figures.every((n) => n === 0 || n >= 11), `a small count is shown: ${figures}`);
  assert.ok(shown.every((c) => /^\d+(,\d)?$/.test(c) || c === "secret" || c.startsWith("nondisponible")), shown.join(" | "));
  assert.match(await page.locator("pre").innerText(), /measure = "stock"[\s\S]*breakdown = \["party", "sexe"\]/);
  await page.screenshot({ path: join(out, "apercu.png"), fullPage: true });

  const save = async (link) => {
    const [download] = await Promise.all([page.waitForEvent("download"), link.click()]);
    return { file: download.suggestedFilename(), bytes: readFileSync(await download.path()) };
  };
  const csv = await save(page.locator("ul.files").getByRole("link", { name: "CSV" }));
  const text = csv.bytes.toString("utf8");
  assert.equal(csv.file, "tableau.csv");
  assert.match(text, /Brouillon/);
  assert.ok(figures.slice(0, 3).every((n) => text.includes(String(n))), "the file has the figures shown");
  const json = JSON.parse((await save(page.locator("ul.files").getByRole("link", { name: "JSON" }))).bytes);
  assert.equal(json.published, false);
  const xlsx = await save(page.locator("ul.files").getByRole("link", { name: "XLSX" }));
  assert.equal(xlsx.bytes.subarray(0, 2).toString(), "PK");
  const toml = await save(page.getByRole("link", { name: "Enregistrer le document" }));
  assert.match(toml.bytes.toString(), /title = "Fiches par partenaire/);

  await page.getByLabel("Motif").fill("Vue mensuelle pour le comité");
  await page.getByRole("button", { name: "Proposer à la publication" }).click();
  await page.waitForURL(/\/publications\/[0-9a-f]{16}$/);
  assert.equal(await page.locator(".state").first().innerText(), "publié");
  await page.screenshot({ path: join(out, "publication.png"), fullPage: true });
  const published = await save(page.locator("ul.files").getByRole("link", { name: "JSON" }));
  assert.equal(JSON.parse(published.bytes).published, true);
  await page.goto(`${site.origin}/publications`);
  assert.equal(await page.getByRole("link", { name: "Fiches par partenaire et hébergement" }).count(), 1);
  await page.close();

  const log = site.accessLog();
  for (const action of ["login", "query", "export", "publish", "view"]) {
    assert.ok(log.some((line) => line.action === action && line.outcome === "done"), `${action} is in the access log`);
  }
  assert.deepEqual(main.faults, []);
});

test("what cannot be answered gets words and no figure", async () => {
  const document = (party, attribute, from) =>
    `title = "x"\nmeasure = "count"\nperiods = { from = "${from}", to = "${from}" }\n[population]\nparty = "${party}"\nwhere = { ${attribute} = ["1"] }\n`;
  const good = ["siao", "sexe", "2024-01"];
  for (const [what, text] of [
    ["unknown party", document("inconnu", good[1], good[2])],
    ["unknown attribute", document(good[0], "religion", good[2])],
    ["month not held", document(good[0], good[1], "2031-01")],
    ["no document", "title = "],
    ["markup", document(good[0], good[1], good[2]).replace('"x"', '"<script>alert(1)</script>"').replace("count", "poids")],
  ]) {
    const { page } = await open("/requete");
    await page.getByText("Coller un document de requête").click();
    await page.getByLabel("Document TOML ou JSON").fill(text);
    await page.locator("form[method=post] button", { hasText: "Voir l’aperçu" }).click();
    assert.match(await page.locator("[role=alert]").innerText(), /Aucun chiffre n’est donné/, what);
    assert.equal(await page.locator("table.figures").count(), 0, what);
    await page.close();
  }
  for (const path of ["/tableau/csv?q=faux", "/publications/0000000000000000", "/rapports/inconnu", "/donnees/x/..%2f..%2fcles"]) {
    const { page, status } = await open(path);
    assert.ok(status >= 400, path);
    await page.close();
  }
  main.faults.splice(0, main.faults.length, ...main.faults.filter((f) => !/status of 4/.test(f)));
  assert.deepEqual(main.faults, []);
});

test("ready-made reports open and are exported", async () => {
  const { page } = await open("/rapports");
  const links = await page.locator("main form").count();
  assert.equal(links, 4);
  await page.locator("main form").first().getByRole("button").click();
  assert.ok((await page.locator("table.figures").count()) > 0);
  await page.screenshot({ path: join(out, "rapport.png"), fullPage: true });
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("ul.files").getByRole("link", { name: "HTML" }).click()]);
  assert.match(readFileSync(await download.path(), "utf8"), /<html lang="fr"/);
  await page.close();
});

test("rows leave as Parquet for those who may hold them", async () => {
  const { page } = await open("/donnees");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: /^link_table/ }).first().click()]);
  assert.equal(readFileSync(await download.path()).subarray(0, 4).toString(), "PAR1");
  await page.close();
});

test("the keyboard reaches everything and shows where it is", async () => {
  for (const path of ["/", "/flux", "/requete", "/rapports", "/utilisateurs"]) {
    const { page } = await open(path);
    const wanted = await page.evaluate(() => {
      const all = document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']");
      const shown = [...all].filter((e) => e.checkVisibility());
      shown.forEach((e, i) => (e.dataset.walk = i));
      return shown.length;
    });
    const reached = new Set();
    for (let i = 0; i < wanted + 20 && reached.size < wanted; i++) {
      await page.keyboard.press("Tab");
      const at = await page.evaluate(() => {
        const e = document.activeElement;
        const style = getComputedStyle(e);
        return { walk: e.dataset?.walk, ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2, what: e.outerHTML.slice(0, 90) };
      });
      if (at.walk === undefined) continue;
      assert.ok(at.ring, `${path}: no visible focus on ${at.what}`);
      reached.add(at.walk);
    }
    assert.equal(reached.size, wanted, `${path}: not everything is reached`);
    if (path === "/") {
      await page.goto(site.origin);
      await page.keyboard.press("Tab");
      await page.keyboard.press("Enter");
      assert.equal(await page.evaluate(() => document.activeElement.id), "contenu", "the skip link leads to the content");
    }
    await page.close();
  }
});

test("a phone shows every view without scrolling sideways", async () => {
  const phone = await also({ viewport: { width: 320, height: 640 }, deviceScaleFactor: 2 });
  for (const path of [...VIEWS, "/requete?unite=persons&mesure=stock&du=2024-01&au=2024-03&pas=month&ventilation=party"]) {
    const { page, status } = await open(path, phone.context);
    assert.equal(status, 200, path);
    const width = await page.evaluate(() => document.scrollingElement.scrollWidth);
    assert.ok(width <= 320, `${path} is ${width} wide`);
    await page.screenshot({ path: join(out, `telephone-${name(path).slice(0, 20)}.png`), fullPage: true });
    await page.close();
  }
  assert.deepEqual(phone.faults, []);
  await phone.context.close();
});

test("a view prints with its figures and without its controls", async () => {
  for (const path of ["/", "/flux", "/recouvrements"]) {
    const { page } = await open(path);
    await page.emulateMedia({ media: "print" });
    assert.equal(await page.locator("nav").isVisible(), false, path);
    assert.equal(await page.locator("table.figures").first().isVisible(), true, path);
    const pdf = await page.pdf({ path: join(out, `impression-${name(path)}.pdf`), format: "A4" });
    assert.equal(pdf.subarray(0, 5).toString(), "%PDF-");
    await page.screenshot({ path: join(out, `impression-${name(path)}.png`), fullPage: true });
    await page.close();
  }
});

test("everything works without script, and in English", async () => {
  const plain = await also({ javaScriptEnabled: false });
  const page = await plain.context.newPage();
  await page.goto(`${site.origin}/requete`);
  await page.getByRole("link", { name: "English" }).click();
  assert.equal(await page.locator("html").getAttribute("lang"), "en");
  await page.getByLabel("Breakdown 1").selectOption("party");
  await page.getByRole("button", { name: "Show the preview" }).click();
  assert.match(await page.locator("table.figures caption").innerText(), /Distinct persons/);
  await page.screenshot({ path: join(out, "anglais.png"), fullPage: true });
  assert.deepEqual(plain.faults, []);
  await plain.context.close();
});

test("runs under way are shown with phase and forecast", async () => {
  const { page } = await open("/");
  const runs = page.getByRole("region", { name: "Traitements en cours" }).or(page.getByRole("group", { name: "Traitements en cours" }));
  assert.equal(await runs.count(), 0);
  assert.equal(await page.getByText("Aucun traitement n’est en cours.").count(), 1);
  await site.openRun("2024-12");
  // The broker is asked again after ten seconds at the latest.
  for (let tries = 0; tries < 60 && (await runs.count()) === 0; tries++) {
    await new Promise((done) => setTimeout(done, 500));
    await page.reload();
  }
  const row = runs.getByRole("row").filter({ has: page.getByRole("rowheader", { name: "2024-12" }) });
  const cells = await row.getByRole("cell").allInnerTexts();
  assert.deepEqual(cells, ["2024-12", "collecte", "0 partenaires sur 5 ont envoyé", "pas encore prévisible"]);
  assert.equal(await runs.locator("caption").count(), 1);
  await page.screenshot({ path: join(out, "traitements.png"), fullPage: true });
  await page.evaluate(axeSource);
  const found = await page.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] }));
  assert.deepEqual(found.violations.map((v) => v.id), []);
  await page.close();
  assert.deepEqual(main.faults, []);
});

test("accounts are switched off and on: by keyboard, at once, and from the command line", async () => {
  const other = await site.profile(site.certificate());
  const theirs = await other.context.newPage();
  await theirs.goto(`${site.origin}/connexion`);
  await theirs.getByRole("link", { name: "Se connecter avec le certificat présenté" }).click();
  assert.equal(new URL(theirs.url()).pathname, "/");
  // A certificate manages nobody here: neither the place in the navigation nor the page.
  assert.equal(await theirs.getByRole("link", { name: "Utilisateurs" }).count(), 0);
  assert.equal((await theirs.goto(`${site.origin}/utilisateurs`)).status(), 404);
  await theirs.goto(site.origin);

  const { page } = await open("/");
  await page.getByRole("link", { name: "Utilisateurs" }).click();
  const uri = (await theirs.locator(".who span").first().innerText()).trim();
  const row = page.getByRole("row").filter({ has: page.getByRole("rowheader", { name: uri }) });
  assert.match(await row.innerText(), /certificat[\s\S]*actif/);
  const own = page.getByRole("row").filter({ hasText: "Votre propre compte" });
  assert.equal(await own.count(), 1);
  assert.equal(await own.getByRole("button").count(), 0, "nobody switches off the account they use");
  // Without a reason nothing is sent.
  await row.getByRole("button", { name: `Désactiver ${uri}` }).click();
  assert.equal(await row.locator(".state").innerText(), "actif");
  await row.getByLabel(`Motif de la désactivation de ${uri}`).focus();
  await page.keyboard.type("départ du service");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), `Désactiver ${uri}`);
  await page.keyboard.press("Enter");
  await page.waitForLoadState();
  assert.equal(await row.locator(".state").innerText(), "désactivé");
  assert.match(await row.innerText(), /départ du service/);
  await page.screenshot({ path: join(out, "utilisateurs.png"), fullPage: true });

  await theirs.goto(`${site.origin}/flux`);
  assert.equal(new URL(theirs.url()).pathname, "/connexion", "the session that was open is gone");
  assert.equal((await theirs.goto(`${site.origin}/connexion/certificat`)).status(), 403);
  assert.match(await theirs.locator("[role=alert]").innerText(), /désactivé/);

  const account = `certificate:${uri}`;
  const users = JSON.parse(site.command("analyst", "users", "list", "--json", "--config", site.config));
  assert.equal(users.find((user) => user.id === account).enabled, false);
  site.command("analyst", "users", "enable", account, "--config", site.config);
  await theirs.goto(`${site.origin}/connexion/certificat`);
  assert.equal(new URL(theirs.url()).pathname, "/");
  // From the command line, too, a session that is open ends with its next request.
  site.command("analyst", "users", "disable", account, "--reason", "essai", "--config", site.config);
  assert.equal((await theirs.goto(site.origin)).status(), 403);
  site.command("analyst", "users", "enable", account, "--config", site.config);
  await page.reload();
  assert.equal(await row.locator(".state").innerText(), "actif");
  await page.close();
  await other.context.close();

  const log = site.accessLog();
  for (const action of ["disable", "enable"]) {
    assert.ok(log.filter((line) => line.action === action && line.outcome === "done" && line.subject === account).length >= 1, action);
  }
  assert.ok(log.some((line) => line.action === "login" && line.outcome === "refused" && line.who.certificate === uri));
  assert.ok(log.every((line, at) => line.n === at + 1), "lines are numbered without a gap");
  assert.match(site.command("analyst", "access", "verify", "--config", site.config), /intact/);
  assert.deepEqual(main.faults, []);
});

test("the link opened once, and leaving ends the session", async () => {
  const other = await site.profile();
  const again = await other.context.newPage();
  assert.equal((await again.goto(site.url)).status(), 403);
  await again.goto(`${site.origin}/flux`);
  assert.equal(new URL(again.url()).pathname, "/connexion");
  await again.screenshot({ path: join(out, "connexion.png"), fullPage: true });
  await other.context.close();
  const { page } = await open("/");
  await page.getByRole("button", { name: "Se déconnecter" }).click();
  await page.waitForURL(/connexion/);
  await page.goto(site.origin);
  assert.equal(new URL(page.url()).pathname, "/connexion");
  await page.close();
});

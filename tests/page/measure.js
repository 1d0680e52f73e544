// Looks at the page as a reader would, by the numbers. The value is an object: `problems`, and how much was looked at.
(() => {
    // The page loads itself again now and then.
    if (document.readyState !== "complete") return null;
    const problems = [];
    let texts = 0, graphics = 0;

    const named = element => element.tagName.toLowerCase() + ["", ...element.classList].join(".");

    // `rgb(1, 2, 3)` or `rgba(1, 2, 3, 0.5)` as four numbers.
    const channels = colour => {
        const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number);
        return [r, g, b, a];
    };
    const over = ([r, g, b, a], [r2, g2, b2]) => [r * a + r2 * (1 - a), g * a + g2 * (1 - a), b * a + b2 * (1 - a), 1];
    // Relative luminance and contrast, as WCAG 2 defines them.
    const luminance = ([r, g, b]) => {
        const linear = [r, g, b].map(c => c / 255).map(c => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const contrast = (a, b) => {
        const [light, dark] = [luminance(a), luminance(b)].sort((a, b) => b - a);
        return (light + 0.05) / (dark + 0.05);
    };
    const ancestors = element => {
        const all = [];
        for (; element; element = element.parentElement) all.push(element);
        return all;
    };
    const background = element => {
        const layers = ancestors(element).map(e => channels(getComputedStyle(e).backgroundColor));
        return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
    };
    const opacity = element => ancestors(element).reduce((all, e) => all * Number(getComputedStyle(e).opacity), 1);
    const look = (what, element, colour, least) => {
        const [r, g, b, a] = channels(colour), below = background(element);
        const found = contrast(over([r, g, b, a * opacity(element)], below), below);
        if (found < least) problems.push(`contrast ${found.toFixed(2)} < ${least}: ${what} in ${named(element)}, ${colour}`);
    };
    const hex = getComputedStyle(document.documentElement).getPropertyValue("--ok").trim().slice(1);
    const green = `rgb(${[0, 2, 4].map(at => parseInt(hex.slice(at, at + 2), 16)).join(", ")})`;
    let greens = 0;

    // Nothing is wider than the window.
    const { scrollWidth } = document.documentElement;
    if (scrollWidth > innerWidth) problems.push(`the page is ${scrollWidth} wide, the window ${innerWidth}`);

    // Each text can be read, and no word is broken but behind its punctuation.
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const element = node.parentElement, range = document.createRange();
        range.selectNodeContents(node);
        if (!node.data.trim() || !range.getClientRects().length) continue;
        texts += 1;
        const style = getComputedStyle(element);
        const colour = element instanceof SVGElement ? style.fill : style.color;
        greens += colour === green && node.data.trim() !== "OK";
        look(node.data.slice(0, 40), element, colour, 4.5);
        if (parseFloat(style.fontSize) < 11) problems.push(`small: ${style.fontSize} in ${named(element)}`);
        for (const word of node.data.matchAll(/[^\s\-._/:=,@]+/g)) {
            range.setStart(node, word.index);
            range.setEnd(node, word.index + word[0].length);
            const lines = new Set([...range.getClientRects()].map(rect => Math.round(rect.top)));
            if (lines.size > 1) problems.push(`broken: ${word[0]} in ${named(element)}`);
        }
    }
    for (const element of document.body.querySelectorAll("*")) {
        const before = getComputedStyle(element, "::before");
        if (before.content !== "none" && before.content !== "normal") look(before.content, element, before.color, 4.5);
    }

    // One moment has one age, which counts from the time of the page.
    const shown = document.querySelector("footer").textContent.match(/Page of ([\d-]+) ([\d:]+) UTC/);
    const now = Date.parse(`${shown[1]}T${shown[2]}Z`);
    const seconds = age => [...age.matchAll(/([\d.]+)([smhd])/g)]
        .reduce((sum, [, number, unit]) => sum + number * { s: 1, m: 60, h: 3600, d: 86400 }[unit], 0);
    const ages = new Map();
    for (const time of document.querySelectorAll("time")) {
        const behind = time.nextSibling?.data?.match(/^ \((.*) ago\)/)?.[1];
        const age = behind ?? time.textContent.match(/^([\d.]+[^ ]*(?: \d+[^ ]+)?) ago$/)?.[1];
        if (age === undefined) continue;
        const other = ages.get(time.dateTime) ?? age;
        if (other !== age) problems.push(`${time.dateTime} is ${other} and ${age} old`);
        ages.set(time.dateTime, age);
        const found = (now - Date.parse(time.dateTime)) / 1000;
        if (Math.abs(found - seconds(age)) > 1.1) problems.push(`${time.dateTime} is ${age} old, and not ${found}s`);
    }

    // Each drawing can be seen.
    for (const shape of document.querySelectorAll("svg :is(rect, line, path, circle)")) {
        const { fill, stroke } = getComputedStyle(shape);
        const painted = [stroke, shape.tagName === "line" ? "none" : fill].filter(paint => paint.startsWith("rgb"));
        if (!painted.length) problems.push(`not painted: ${named(shape)}`);
        for (const paint of painted) {
            graphics += 1;
            greens += paint === green;
            look("a drawing", shape, paint, 3);
        }
    }
    for (const box of document.querySelectorAll(".verdict")) {
        graphics += 1;
        look("the edge", box, getComputedStyle(box).borderLeftColor, 3);
    }

    // Whoever does not see it hears the same.
    const { lang, title } = { lang: document.documentElement.lang, title: document.title };
    if (lang !== "en" || !title) problems.push(`language ${lang}, title ${title}`);
    const levels = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map(heading => Number(heading.tagName[1]));
    const steps = levels.every((level, n) => level === 1 ? n === 0 : n > 0 && level <= levels[n - 1] + 1);
    if (!steps || !levels.length) problems.push(`headings: ${levels}`);
    if (document.querySelectorAll("main").length !== 1) problems.push("one main part");
    for (const head of document.querySelectorAll("th")) {
        if (!["col", "row"].includes(head.scope)) problems.push(`a head without a scope: ${head.textContent}`);
    }
    for (const drawing of document.querySelectorAll("svg")) {
        const hidden = drawing.getAttribute("aria-hidden") === "true";
        const label = drawing.getAttribute("role") === "img" && drawing.getAttribute("aria-label");
        if (!hidden && !label) problems.push(`a drawing without words: ${named(drawing)}`);
    }
    for (const link of document.querySelectorAll("a")) {
        if (!link.textContent.trim()) problems.push(`a link without a text: ${link.href}`);
    }
    if (document.querySelectorAll("script, [style]").length) problems.push("a script, or a style of its own");
    if (document.getAnimations().length) problems.push("something moves");

    const looks = [...document.querySelectorAll(".history g")].map(slot => slot.classList[0]);
    return { problems, texts, graphics, greens, ages: [...ages.values()], looks: [...new Set(looks)].sort(), title, text: document.body.innerText };
})()

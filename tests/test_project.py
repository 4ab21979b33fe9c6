"""The project as a whole: layering, style, types, packaging, documents."""

import re
import subprocess
import sys
import venv
from collections import Counter
from pathlib import Path

import pytest

from hotline_sim.engine.emission import emitted_verilog

from .configurations import LEAST, options, tiny

ROOT = Path(__file__).parents[1]


def run(*command, cwd=ROOT):
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_layering():
    run(Path(sys.executable).with_name("lint-imports"))


def test_a_room_has_at_most_twelve_files():
    rooms = Counter(
        file.parent
        for source in ("rtl", "golden", "sim", "fpga")
        for file in (ROOT / source).rglob("*.py")
        if file.name != "__init__.py"
    )
    assert len(rooms) > 30 and {str(room): count for room, count in rooms.items() if count > 12} == {}


def test_ruff():
    run(sys.executable, "-m", "ruff", "check", ".")
    run(sys.executable, "-m", "ruff", "format", "--check", ".")


def test_types():
    run(sys.executable, "-m", "mypy")


def test_an_installed_wheel_emits_verilog(tmp_path):
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    environment = tmp_path / "env"
    venv.create(environment, with_pip=True)
    # What the wheel needs comes from this environment, the package itself from the wheel alone.
    target = next((environment / "lib").glob("python*/site-packages"))
    run(environment / "bin" / "python", "-m", "pip", "install", "-q", "--no-deps", wheel)
    here = next(p for p in sys.path if p.endswith("site-packages"))
    kept = [p for p in Path(here).iterdir() if "hotline" not in p.name and not (target / p.name).exists()]
    for entry in kept:
        (target / entry.name).symlink_to(entry)
    out = tmp_path / "hotline.v"
    run(environment / "bin" / "hotline", "verilog", *options(LEAST), "-o", out, cwd=tmp_path)
    assert out.read_text() == emitted_verilog(tiny(LEAST))
    found = run(environment / "bin" / "python", "-c", "import hotline_rtl; print(hotline_rtl.__file__)", cwd=tmp_path)
    assert str(environment) in found


def test_versions_agree():
    from hotline_rtl import VERSION

    assert f'version = "{VERSION}"' in (ROOT / "pyproject.toml").read_text()
    assert f"## {VERSION}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("page", sorted(p.relative_to(ROOT) for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]))
def test_links_in_documents_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"

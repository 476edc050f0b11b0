"""README, docs/ and the like: links lead somewhere, lines keep 120 columns, and the picture's texts fit their boxes in any font."""
import pathlib
import re
import unittest
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SVG = "{http://www.w3.org/2000/svg}"
WIDEST = {None: 0.65, "bold": 0.75}  # of a character, in units of the font's size: DejaVu Sans Mono has 0.602, Verdana 0.64


class Documents(unittest.TestCase):
    def test_links(self):
        for document in DOCUMENTS:
            for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
                with self.subTest(document=document.name, link=target):
                    self.assertTrue("://" in target or (document.parent / target).exists())

    def test_files_named(self):
        """`folder/file.c` in a text is a file of the tree."""
        folders = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"build"}
        for document in DOCUMENTS:
            for name in re.findall(r"`([\w.-]+/[\w./-]+\.(?:c|h|py|md|sh|proto|txt))`", document.read_text()):
                if name.split("/")[0] in folders and not re.search(r"[A-Z]{2}|_X", name):
                    with self.subTest(document=document.name, file=name):
                        self.assertTrue((ROOT / name).exists())

    def test_columns(self):
        """Tables and what programs print may be wider, and the changelog for a while: many add to it at once."""
        for document in set(DOCUMENTS) - {ROOT / "CHANGELOG.md"}:
            fenced = False
            for number, line in enumerate(document.read_text().splitlines(), 1):
                fenced ^= line.startswith("```")
                if not fenced and not line.startswith("|"):
                    with self.subTest(place=f"{document.name}:{number}"):
                        self.assertLessEqual(len(line), 120)

    def test_picture(self):
        root = ElementTree.parse(ROOT / "docs/overview.svg").getroot()
        size = float(root.get("font-size"))
        boxes = [[float(box.get(key, 0)) for key in ("x", "y", "width", "height")] for box in root.iter(f"{SVG}rect")]
        texts = list(root.iter(f"{SVG}text"))
        self.assertGreater(len(texts), 10)
        for text in texts:
            half = len(text.text) * size * WIDEST[text.get("font-weight")] / 2
            x, y = float(text.get("x")), float(text.get("y"))
            around = [box for box in boxes if box[0] <= x <= box[0] + box[2] and box[1] <= y <= box[1] + box[3]]
            left, _, width, _ = min(around, key=lambda box: box[2] * box[3])
            with self.subTest(text=text.text):
                self.assertLessEqual(left, x - half)
                self.assertLessEqual(x + half, left + width)


if __name__ == "__main__":
    unittest.main(verbosity=2)

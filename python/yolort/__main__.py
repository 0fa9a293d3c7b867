from yolort.cli import main

main()
